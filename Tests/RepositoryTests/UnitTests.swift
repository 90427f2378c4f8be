import FastableCore
import Foundation
import Testing

@Suite("systemd's units agree with the daemons")
struct UnitTests {
    @Test(arguments: ["fastable-controller", "fastable-node"])
    func aUnitLetsItsDaemonStopAndAnswer(name: String) throws {
        let unit = try String(
            contentsOf: SourceTree.root.appending(path: "systemd/\(name).service"), encoding: .utf8)
        func seconds(_ setting: String) throws -> Int {
            let line = try #require(unit.split(separator: "\n").first { $0.hasPrefix("\(setting)=") }, "\(setting)")
            return try #require(Int(line.dropFirst(setting.count + 1)))
        }
        // A daemon that systemd kills does not say goodbye to its peers.
        let needed = Limits.gracefulShutdownSeconds + Limits.cancellationSeconds
        #expect(try seconds("TimeoutStopSec") >= needed + 5)
        // A sign of life is due at half of the time, and may take as long as the question it depends on.
        let watchdog = try seconds("WatchdogSec")
        #expect(watchdog / 2 + Limits.watchdogAnswerSeconds < watchdog)
    }
}

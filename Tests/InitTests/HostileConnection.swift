import CLinux
import Foundation
import Glibc
import NodeLinux

/// A connection to init that says whatever a test wants.
final class HostileConnection {
    private let socket: CInt

    init(_ process: InitProcess, greets: Bool) throws {
        let hello: [UInt8] = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, UInt8(FASTABLE_INIT_VERSION)]
        let directory = try process.tree.open(process.group)
        let bytes = greets ? hello : [1]
        while true {
            let result = fastable_init_connect(process.socket, bytes, bytes.count, directory.number)
            if result == -EAGAIN {
                // Init has not accepted the ones before yet.
                usleep(1000)
                continue
            }
            socket = try Errno.checkNegative(result)
            return
        }
    }

    deinit { close(socket) }

    /// Sends what the socket takes.
    func send(_ bytes: [UInt8]) { Glibc.send(socket, bytes, bytes.count, CInt(MSG_NOSIGNAL)) }

    func receive(_ count: Int) async throws -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        let deadline = ContinuousClock.now + .seconds(120)
        while all.count < count, ContinuousClock.now < deadline {
            let got = recv(socket, &buffer, buffer.count, 0)
            if got > 0 { all += buffer.prefix(got) } else { try await Task.sleep(for: .milliseconds(5)) }
        }
        return all
    }
}

extension InitProcess {
    /// Processor time that init has used, in hundredths of a second.
    func processorTicks() throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 12 ? (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0) : 0
    }
}

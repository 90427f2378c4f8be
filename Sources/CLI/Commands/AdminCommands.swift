import ArgumentParser
import FastableCore

struct AdminCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "admin", abstract: "Let no new work begin anywhere, and put idle containers to rest.",
        discussion: """
            Examples:
              fastable admin disable --reason 'maintenance at 22:00'
              fastable admin enable
              fastable admin idle-sweep --minutes 10
            """,
        subcommands: [Disable.self, Enable.self, IdleSweep.self])

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "disable",
            abstract: "Let nothing new begin; what runs goes on to its end.",
            discussion: "Example: fastable admin disable --reason 'maintenance at 22:00'")
        @OptionGroup var common: CommonOptions
        @Option(help: "Why; it goes into the audit, and whoever is refused is told.") var reason: String

        func run() async throws {
            try await common.show("admin_disable", ["reason": .string(reason)], as: KillReport.self) { report in
                report.lines(["Path B is disabled. Bring it back with: fastable admin enable"]).joined(separator: "\n")
            }
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "enable",
            abstract: "Let new work begin again.", discussion: "Example: fastable admin enable")
        @OptionGroup var common: CommonOptions

        private struct Answer: Decodable {
            var changed: Bool
            var missing: [String]
        }

        func run() async throws {
            try await common.show("admin_enable", [:], as: Answer.self) { answer in
                let away = answer.missing.isEmpty ? "" : " Away: \(answer.missing.joined(separator: ", "))."
                return (answer.changed ? "Path B is enabled." : "It was enabled already.") + away
            }
        }
    }

    struct IdleSweep: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "idle-sweep",
            abstract: "Suspend or stop the containers that nobody uses.",
            discussion: "Example: fastable admin idle-sweep --minutes 10")
        @OptionGroup var common: CommonOptions
        @Option(help: "How long nobody has used them.") var minutes = Limits.idleSweepMinutes

        private struct Answer: Decodable {
            var suspended: Int
            var stopped: Int
            var kept: Int
            var missing: [String]
        }

        func run() async throws {
            let input: JSONValue = ["minutes": .integer(Int64(minutes))]
            try await common.show("admin_idle_sweep", input, as: Answer.self) { answer in
                let away = answer.missing.isEmpty ? "" : " Did not answer: \(answer.missing.joined(separator: ", "))."
                return "Suspended \(answer.suspended), stopped \(answer.stopped), kept \(answer.kept).\(away)"
            }
        }
    }
}

import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("The program: logins, help, status", .serialized, .endsInTime)
struct SessionTests {
    @Test func logsInAndOut() async throws {
        try await CLIWorld.with { world in
            let login = ["login", "--url", world.apiURL + "/", "--token-file", world.tokenFile]
            let environment = CLIWorld.loggedOut
            #expect(
                try await world.cli(["project", "list"], environment: environment)
                    .failed(77, saying: "fastable login"))

            try await world.cli(login, environment: environment).requireSuccess()
            try await world.cli(["project", "list"], environment: environment).requireSuccess()
            let second = try await world.cli(login + ["--name", "second", "--json"], environment: environment)
            #expect(try second.json()["name"]?.string == "second")

            let file = world.folder + "/.config/fastable/cli.json"
            let facts = try FileManager.default.attributesOfItem(atPath: file)
            #expect(facts[.posixPermissions] as? Int == 0o600)
            let token = try String(contentsOfFile: world.tokenFile, encoding: .utf8)
            let text = try String(contentsOfFile: file, encoding: .utf8)
            #expect(!text.contains("fst_") && !text.contains(token.trimmingCharacters(in: .whitespacesAndNewlines)))
            #expect(text.contains(world.tokenFile))

            for name in ["default", "second"] {
                try await world.cli(["project", "list", "--context", name], environment: environment).requireSuccess()
            }
            #expect(
                try await world.cli(["project", "list", "--context", "third"], environment: environment)
                    .failed(1, saying: "Known: default, second"))
            #expect(
                try await world.cli(
                    ["project", "list"], environment: environment.merging(["FASTABLE_CONTEXT": "third"]) { $1 }
                ).failed(1, saying: "third"))

            try await world.cli(["logout"], environment: environment).requireSuccess()
            try await world.cli(["project", "list"], environment: environment).requireSuccess()
            try await world.cli(["logout", "--name", "default"], environment: environment).requireSuccess()
            #expect(try await world.cli(["logout"], environment: environment).failed(1))
            #expect(try await world.cli(["status"], environment: environment).failed(77))
        }
    }

    @Test func aTokenThatMayOnlyRunCommandsCanLogIn() async throws {
        try await CLIWorld.with { world in
            let made = try await world.cli(["token", "create", "agent", "--scope", "exec"]).requireSuccess()
            let file = world.folder + "/agent.token"
            try Data(made.text.utf8).write(to: URL(fileURLWithPath: file))
            try await world.cli(
                ["login", "--url", world.apiURL, "--token-file", file], environment: CLIWorld.loggedOut
            ).requireSuccess()
            let status = try await world.cli(["status"], environment: CLIWorld.loggedOut)
            #expect(status.failed(77, saying: "admin"), "\(status)")
        }
    }

    @Test func aLoginThatDoesNotWorkIsNotKept() async throws {
        try await CLIWorld.with { world in
            let wrong = world.folder + "/wrong.token"
            try Data("fst_\(String(repeating: "A", count: 43))\n".utf8).write(to: URL(fileURLWithPath: wrong))
            for (arguments, status) in [
                (["--url", world.apiURL, "--token-file", wrong], Int32(77)),
                (["--url", world.apiURL, "--token-file", "/nonexistent"], 77),
                (["--url", "http://127.0.0.1:9", "--token-file", world.tokenFile], 69),
            ] {
                let began = ContinuousClock.now
                let result = try await world.cli(["login"] + arguments, environment: CLIWorld.loggedOut)
                #expect(result.failed(status), "\(arguments): \(result)")
                #expect(ContinuousClock.now - began < .seconds(30))
            }
            #expect(!FileManager.default.fileExists(atPath: world.folder + "/.config/fastable/cli.json"))
            // Something answers, but no controller.
            let health = try await world.cli(
                ["login", "--url", world.apiURL + "/nothing", "--token-file", world.tokenFile],
                environment: CLIWorld.loggedOut)
            #expect(health.failed(1), "\(health)")
        }
    }

    @Test func aDamagedConfigurationIsSaid() async throws {
        try await CLIWorld.with { world in
            let file = world.folder + "/cli.json"
            try Data("{".utf8).write(to: URL(fileURLWithPath: file))
            let result = try await world.cli(
                ["status"], environment: CLIWorld.loggedOut.merging(["FASTABLE_CLI_CONFIG": file]) { $1 })
            #expect(result.failed(1, saying: file), "\(result)")

            // Without any of the variables it stands in the home directory that HOME names.
            let home = world.folder + "/home"
            try FileManager.default.createDirectory(
                atPath: home + "/.config/fastable", withIntermediateDirectories: true)
            try FileManager.default.moveItem(atPath: file, toPath: home + "/.config/fastable/cli.json")
            let usual = try await world.cli(
                ["status"],
                environment: CLIWorld.loggedOut.merging(["XDG_CONFIG_HOME": nil, "HOME": home]) { $1 })
            #expect(usual.failed(1, saying: home + "/.config/fastable/cli.json"), "\(usual)")
        }
    }

    @Test func statusTellsWhatScriptsNeed() async throws {
        try await CLIWorld.with { world in
            let status = try await world.cli(["status", "--json"]).requireSuccess().json()
            #expect(status["apiUrl"]?.string == world.apiURL)
            #expect(status["mcpUrl"]?.string == world.apiURL + "/api/mcp")
            #expect(status["tokenFile"]?.string == world.tokenFile)
            #expect(status["nodeListener"]?.string.flatMap { HostPort($0) } != nil)
            #expect(status["version"]?.string == Version.text)
            let node = try #require(status["nodes"]?.array?.first)
            #expect(node["id"]?.string?.hasPrefix("nod_") == true)
            #expect(node["name"]?.string == "node-1")
            #expect(node["state"]?.string == "ready")
            #expect(node["cgroup"]?.string == "v2")
            #expect(node["runtime"]?.string == "runc 1.1.5")

            let text = try await world.cli(["status"]).requireSuccess().text
            for word in [world.apiURL, "node-1", "ready", "runc 1.1.5", "v2", world.tokenFile] {
                #expect(text.contains(word), "\(word) in \(text)")
            }
        }
    }

    @Test func errorsHaveTheirStatus() async throws {
        try await CLIWorld.with { world in
            #expect(try await world.cli(["project", "get", "ghost"]).failed(1, saying: "ghost"))
            #expect(try await world.cli(["node", "show", "ghost"]).failed(1, saying: "ghost"))
            let gone = ["FASTABLE_API_URL": "http://127.0.0.1:9"] as [String: String?]
            let began = ContinuousClock.now
            #expect(try await world.cli(["status"], environment: gone).failed(69, saying: "127.0.0.1:9"))
            #expect(ContinuousClock.now - began < .seconds(30))
            #expect(
                try await world.cli(["status"], environment: ["FASTABLE_TOKEN_FILE": nil])
                    .failed(1, saying: "FASTABLE_TOKEN_FILE"))
            for usage in [["frobnicate"], ["exec", "shop"], ["exec", "shop", "--timeout", "x", "--", "ls"], ["fs"]] {
                let result = try await world.cli(usage)
                #expect(result.status == (usage == ["fs"] ? 0 : 64), "\(usage): \(result)")
            }
        }
    }

    /// Of every command that there is, so that nobody can forget one.
    @Test func everyHelpHasAnExample() async throws {
        let dump = try await CLIProcess(["--experimental-dump-help"], environment: ["PATH": "/usr/bin:/bin"]).result()
        let root = try #require(try dump.requireSuccess().json()["command"])
        let commands = Self.commands(root, below: "")
        #expect(commands.count > 30, "the program must have told its commands")
        for (name, help) in commands {
            let example = help.split(separator: "\n").contains { line in
                let words = line.trimmingPrefix("Example: ").trimmingCharacters(in: .whitespaces)
                return words.hasPrefix(name + " ") || words == name
            }
            #expect(example, "‘\(name) --help’ has no example: \(help)")
            for line in help.split(separator: "\n") {
                #expect(line.count <= 80, "‘\(name) --help’: this line breaks on a terminal: \(line)")
            }
        }
    }

    private static func commands(_ command: JSONValue, below parent: String) -> [(name: String, help: String)] {
        let name = parent + (command["commandName"]?.string ?? "")
        let inner = (command["subcommands"]?.array ?? []).filter { $0["commandName"] != "help" }
        return [(name, command["discussion"]?.string ?? "")] + inner.flatMap { commands($0, below: name + " ") }
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func completionsAreMade(shell: String) async throws {
        let process = try CLIProcess(
            ["--generate-completion-script", shell], environment: ["PATH": "/usr/bin:/bin"])
        let result = try await process.result().requireSuccess()
        for word in ["project", "exec", "push", "--token-file"] where shell != "fish" || !word.hasPrefix("--") {
            #expect(result.text.contains(word), "\(word)")
        }
        // The shells of other people are not on every machine; bash is.
        guard shell == "bash" else { return }
        let file = FileManager.default.temporaryDirectory.appending(path: "completion-\(UInt64.random(in: 0 ... .max))")
        defer { try? FileManager.default.removeItem(at: file) }
        try result.output.write(to: file)
        let check = Process()
        check.executableURL = URL(fileURLWithPath: "/bin/bash")
        check.arguments = ["-n", file.path]
        try check.run()
        check.waitUntilExit()
        #expect(check.terminationStatus == 0)
    }

    @Test func tellsItsVersion() async throws {
        let result = try await CLIProcess(["--version"], environment: [:]).result().requireSuccess()
        #expect(result.text == Version.text + "\n")
    }
}

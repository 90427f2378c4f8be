import Foundation

/// A command of the CLI that goes on until it is ended, and what it has printed so far, errors too.
final class FollowingProgram: Sendable {
    let process: Process
    private let file: URL

    init(_ host: Installation, _ arguments: [String]) throws {
        let process = Process()
        file = host.directory.appending(path: "followed-\(UUID().uuidString)")
        _ = FileManager.default.createFile(atPath: file.path, contents: nil)
        process.executableURL = host.programs.appending(path: "fastable")
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging([
            "FASTABLE_API_URL": try host.apiURL(), "FASTABLE_TOKEN_FILE": host.controllerState + "/admin.token",
        ]) { $1 }
        let output = try FileHandle(forWritingTo: file)
        (process.standardOutput, process.standardError) = (output, output)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        self.process = process
    }

    var text: String { (try? String(contentsOf: file, encoding: .utf8)) ?? "" }
    var lines: [String] { text.split(separator: "\n").map(String.init) }

    /// What a thread of tasks starts has its signals blocked.
    func end() { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
}

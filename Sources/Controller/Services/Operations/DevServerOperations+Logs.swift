import ControllerDomain
import FastableCore
import FoundationEssentials

/// What dev servers print.
extension DevServerOperations {
    struct LogsInput: Decodable, Sendable {
        var name: String?
        var bytes: Int?
    }

    struct LogsAnswer: Encodable, Sendable {
        var execId: ExecID
        var running: Bool
        var stdout: String
        var stderr: String
        var stdoutBytes: UInt64
        var stderrBytes: UInt64
    }

    var logs: Operation {
        .onProject(
            "dev_server.logs",
            .init(
                "Read what a dev server prints",
                "Gives the last `bytes` of each output stream of a dev server's present run, or of the last one. With `execId` "
                    + "shell.output reads the rest, and shell.wait waits for more."
            ),
            scope: .exec, annotations: .reading, input: LogsInput.self,
            fields: [
                Self.name,
                .optional("bytes", .integer(1...Limits.outputPageBytes, "Of each stream at most.", default: 16 * 1024)),
            ],
            answers: .output([
                .required("execId", .string("The run.")),
                .required("running", .boolean()),
                .required("stdout", .string()),
                .required("stderr", .string()),
                .required("stdoutBytes", .count("Printed so far.")),
                .required("stderrBytes", .count("Printed so far.")),
            ])
        ) { input, project, context in
            let name = input.name ?? Self.usualName
            guard let process = project.supervised.first(where: { $0.name == name }) else {
                throw FastableError(.notFound, "There is no dev server ‘\(name)’. See dev_server.list.")
            }
            let status = try await projects.devServers(of: project, context).first { $0.name == name }
            guard let status, let exec = status.exec else {
                throw FastableError(.conflict, "The dev server ‘\(name)’ has not run yet. Use dev_server.start.")
            }
            try await remember(status, process, of: project)
            let bytes = input.bytes ?? 16 * 1024
            func page(_ stream: ExecStreamName) async throws -> ExecPage {
                try await execs.page(of: exec, stream: stream, from: -Int64(bytes), limit: bytes, context: context)
            }
            var (stdout, stderr) = (try await page(.stdout), try await page(.stderr))
            return LogsAnswer(
                execId: exec, running: stdout.running, stdout: stdout.text(), stderr: stderr.text(),
                stdoutBytes: stdout.totalBytes, stderrBytes: stderr.totalBytes)
        }
    }

    /// From here on its run can be read, followed and ended like any other command.
    func remember(_ status: SupervisedStatus?, _ process: SupervisedProcess, of project: Project) async throws {
        guard let exec = status?.exec else { return }
        try await execs.remember(exec, of: project, line: process.line)
    }
}

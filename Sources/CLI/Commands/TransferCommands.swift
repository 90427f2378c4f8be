import ArgumentParser
import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOHTTP1

struct UploadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upload", abstract: "Copy one file, of any size and any bytes, into a project.",
        discussion: """
            What is there is replaced once all of the file has arrived, or not at all.

            Examples:
              fastable fs upload shop photo.jpg
              fastable fs upload shop dump.sql data/dump.sql
              pg_dump shop | fastable fs upload shop - data/dump.sql
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The project: its name or id.") var project: String
    @Argument(help: ArgumentHelp("The file here; ‘-’ is standard input.", valueName: "local")) var local: String
    @Argument(
        help: ArgumentHelp(
            "Path, relative to /workspace; the file's own name unless given. Below it when it ends in ‘/’.",
            valueName: "remote")) var remote: String?
    @Option(help: "Only if the file has this sha256 now; empty: only if it does not exist.") var ifMatch: String?

    func run() async throws {
        try await CommandFailure.explained {
            let client = try common.client()
            let file = try LocalFile.toRead(local)
            var request = client.request(
                .PUT,
                ProjectPath.of(project, "file", ["path": try place(), "executable": file.isExecutable ? "true" : nil]))
            request.headers.add(name: "content-type", value: "application/octet-stream")
            if let ifMatch {
                let isNew = ifMatch.isEmpty
                request.headers.add(name: isNew ? "if-none-match" : "if-match", value: isNew ? "*" : ifMatch)
            }
            let progress = TransferProgress(of: file.size, isShown: !common.json)
            request.body = .stream(
                FileBytes(file: file, progress: progress), length: file.size.map { .known(Int64($0)) } ?? .unknown)
            let answer: Data
            do {
                answer = try await Client.body(of: try await client.send(request, timeout: .hours(12)))
            } catch {
                progress.end()
                throw error
            }
            progress.end()
            if common.json { return try Output.json(answer) }
            let result = try JSON.decode(FileWriteResult.self, from: answer)
            try Output.line("\(result.created ? "Created" : "Wrote") \(result.path), \(Output.size(result.sizeBytes)).")
        }
    }

    private func place() throws -> String {
        let name = local.split(separator: "/").last.map(String.init) ?? local
        guard let remote, !remote.isEmpty else {
            guard local != "-" else {
                throw FastableError(
                    .invalid,
                    "Standard input has no name. Say where to put it, for example: fastable fs upload \(project) - data.bin"
                )
            }
            return name
        }
        return remote.hasSuffix("/") && local != "-" ? remote + name : remote
    }
}

struct DownloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "download", abstract: "Copy one file, of any size and any bytes, out of a project.",
        discussion: """
            What is here is replaced once all of the file has arrived, or not at all.

            Examples:
              fastable fs download shop dist/app.tar.gz
              fastable fs download shop data/dump.sql backup/
              fastable fs download shop data/dump.sql - | psql shop
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The project: its name or id.") var project: String
    @Argument(help: ArgumentHelp("Path, relative to /workspace.", valueName: "remote")) var remote: String
    @Argument(
        help: ArgumentHelp(
            "The file here, or a directory to put it into; ‘-’ is standard output. The file's own name unless given.",
            valueName: "local")) var local: String?

    func run() async throws {
        try await CommandFailure.explained {
            let client = try common.client()
            let response = try await client.send(
                client.request(.GET, ProjectPath.of(project, "file", ["path": remote])), timeout: .hours(12))
            let name = remote.split(separator: "/").last.map(String.init) ?? remote
            let file = try LocalFile.toWrite(local ?? name, name: name)
            let progress = TransferProgress(
                of: response.headers.first(name: "content-length").flatMap { Int($0) },
                isShown: !common.json && local != "-")
            do {
                for try await part in response.body {
                    try file.write(part)
                    progress.add(part.readableBytes)
                }
                try file.finish()
            } catch {
                progress.end()
                file.abandon()
                throw Client.lost(error)
            }
            progress.end()
            guard local != "-" else { return }
            let bytes = progress.bytes
            if common.json {
                return try Output.json(
                    JSON.encode(JSONValue.object(["path": .string(file.path), "bytes": .integer(Int64(bytes))])))
            }
            try Output.line("Wrote \(file.path), \(Output.size(bytes)).")
        }
    }
}

import ArgumentParser
import AsyncHTTPClient
import FastableCompression
import FastableCore
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1

struct PushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", abstract: "Copy a directory into a project's workspace.",
        discussion: """
            What is there already stays, unless --replace is given. A file that
            cannot be read here ends the push: with --replace nothing is changed then;
            without it, what was sent before that file is there. With --new the tree
            appears once all of it has arrived, and replaces nothing.

            Examples:
              fastable push shop .
              fastable push shop ./site --to public --replace
              fastable push shop ./site --to public2 --new
              fastable push shop . --compression zstd    # through a tunnel
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The project: its name or id.") var project: String
    @Argument(help: "The directory to copy.") var directory: String
    @Option(help: ArgumentHelp("Where to, relative to /workspace.", valueName: "path")) var to: String?
    @Flag(help: "Replace what is there, once the whole tree has arrived.") var replace = false
    @Flag(help: "Only if nothing is there yet.") var new = false
    @OptionGroup var way: TreeWay

    func validate() throws {
        if new, replace { throw ValidationError("--new replaces nothing. Leave out one of --new and --replace.") }
    }

    func run() async throws {
        try await CommandFailure.explained {
            var isDirectory: ObjCBool = false
            guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory), isDirectory.boolValue
            else {
                throw FastableError(
                    .notFound,
                    "There is no directory ‘\(directory)’ here. Name the directory to copy, for example: fastable push \(project) ."
                )
            }
            let client = try common.client()
            let tar = try Tar.start(
                ["--create", "--file=-", "--directory=\(directory)", "--format=gnu", "."],
                whenItFails: replace || new
                    ? " Nothing was changed in the project." : " What was sent before that may be in the project.")
            var request = client.request(
                .PUT, ProjectPath.of(project, "tree", ["path": to, "replace": replace ? "true" : nil]))
            request.headers.add(name: "content-type", value: "application/x-tar")
            if new { request.headers.add(name: "if-none-match", value: "*") }
            if way.compresses(to: client) {
                request.headers.add(name: "content-encoding", value: TreeWay.coding)
                request.body = .stream(CompressedBytes(pipe: tar.output), length: .unknown)
            } else {
                request.body = .stream(tar.output, length: .unknown)
            }
            let answer: Data
            do {
                answer = try await Client.body(of: try await client.send(request, timeout: .hours(12)))
            } catch {
                tar.abandon()
                throw error
            }
            if common.json { return try Output.json(answer) }
            let result = try JSON.decode(TreeResult.self, from: answer)
            try Output.line("Pushed \(result.files) files, \(Output.size(Int(result.sizeBytes))).")
        }
    }
}

struct PullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull", abstract: "Copy a project's workspace, or a part of it, to a directory here.",
        discussion: """
            Examples:
              fastable pull shop ./shop
              fastable pull shop ./build --from dist
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The project: its name or id.") var project: String
    @Argument(help: "The directory to write; made when it does not exist.") var directory: String
    @Option(help: ArgumentHelp("What to copy, relative to /workspace.", valueName: "path")) var from: String?
    @OptionGroup var way: TreeWay

    func run() async throws {
        try await CommandFailure.explained {
            let client = try common.client()
            var request = client.request(.GET, ProjectPath.of(project, "tree", ["path": from]))
            if way.compresses(to: client) { request.headers.add(name: "accept-encoding", value: TreeWay.coding) }
            let response = try await client.send(request, timeout: .hours(12))
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            let tar = try Tar.start([
                "--extract", "--file=-", "--directory=\(directory)", "--no-same-owner", "--delay-directory-restore",
            ])
            let bytes: Int
            do {
                bytes = try await Self.unpack(response, with: tar)
            } catch {
                tar.abandon()
                throw Client.lost(error)
            }
            try tar.finish()
            if common.json { return try Output.json(JSON.encode(JSONValue.object(["bytes": .integer(Int64(bytes))]))) }
            try Output.line("Pulled \(Output.size(bytes)) into \(directory).")
        }
    }

    /// The bytes of the archive.
    private static func unpack(_ response: HTTPClientResponse, with tar: Tar) async throws -> Int {
        var decoder = response.headers["content-encoding"] == [TreeWay.coding] ? try ZstdDecoder() : nil
        var bytes = 0
        // When tar takes no more it has failed, and `finish` tells how.
        func take(_ part: UnsafeRawBufferPointer) -> Bool {
            bytes += part.count
            return tar.take(part)
        }
        for try await chunk in response.body {
            guard decoder != nil else {
                guard chunk.withUnsafeReadableBytes(take) else { return bytes }
                continue
            }
            decoder?.append(Array(chunk.readableBytesView))
            while let part = try decoder?.next() {
                guard part.withUnsafeBytes(take) else { return bytes }
            }
        }
        guard decoder?.isComplete ?? true else {
            throw FastableError(.unavailable, "The compressed archive ended too early. Try again.")
        }
        return bytes
    }
}

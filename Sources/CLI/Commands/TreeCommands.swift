import ArgumentParser
import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1

struct PushCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", abstract: "Copy a directory into a project's workspace.",
        discussion: """
            What is there already stays, unless --replace is given.

            Examples:
              fastable push shop .
              fastable push shop ./site --to public --replace
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The project: its name or id.") var project: String
    @Argument(help: "The directory to copy.") var directory: String
    @Option(help: ArgumentHelp("Where to, relative to /workspace.", valueName: "path")) var to: String?
    @Flag(help: "Replace what is there, once the whole tree has arrived.") var replace = false

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
            let tar = try Tar.start(["--create", "--file=-", "--directory=\(directory)", "--format=pax", "."])
            var request = client.request(
                .PUT, ProjectPath.of(project, "tree", ["path": to, "replace": replace ? "true" : nil]))
            request.headers.add(name: "content-type", value: "application/x-tar")
            request.body = .stream(tar.output, length: .unknown)
            let answer: Data
            do {
                answer = try await Client.body(of: try await client.send(request, timeout: .hours(12)))
            } catch {
                tar.abandon()
                throw error
            }
            try tar.finish()
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

    func run() async throws {
        try await CommandFailure.explained {
            let client = try common.client()
            let request = client.request(.GET, ProjectPath.of(project, "tree", ["path": from]))
            let response = try await client.send(request, timeout: .hours(12))
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            let tar = try Tar.start([
                "--extract", "--file=-", "--directory=\(directory)", "--no-same-owner", "--delay-directory-restore",
            ])
            var bytes = 0
            do {
                for try await chunk in response.body {
                    bytes += chunk.readableBytes
                    // When tar takes no more it has failed, and `finish` tells how.
                    guard tar.take(chunk) else { break }
                }
            } catch {
                tar.abandon()
                throw Client.lost(error)
            }
            try tar.finish()
            if common.json { return try Output.json(JSON.encode(JSONValue.object(["bytes": .integer(Int64(bytes))]))) }
            try Output.line("Pulled \(Output.size(bytes)) into \(directory).")
        }
    }
}

/// Paths of the routes of a project's files.
enum ProjectPath {
    static func of(_ project: String, _ route: String, _ query: [String: String?]) -> String {
        var components = URLComponents()
        components.path = "/api/projects/\(project)/fs/\(route)"
        let items = query.sorted { $0.key < $1.key }.compactMap { name, value in
            value.map { URLQueryItem(name: name, value: $0) }
        }
        if !items.isEmpty { components.queryItems = items }
        // In a query a plus sign means a space, which `URLComponents` does not know.
        return (components.string ?? components.path).replacing("+", with: "%2B")
    }
}

/// The system's tar: it knows the file system of this machine better than we do.
private struct Tar {
    private let process: Process
    private let input: FileHandle
    let output: PipeBytes

    static func start(_ arguments: [String]) throws -> Tar {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["tar"] + arguments
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        do {
            try process.run()
        } catch {
            throw FastableError(
                .unavailable, "The program tar could not be started. Install it, or put it on your PATH.",
                context: "\(error)")
        }
        return Tar(
            process: process, input: input.fileHandleForWriting,
            output: PipeBytes(handle: output.fileHandleForReading))
    }

    /// `false` when it takes no more.
    func take(_ bytes: ByteBuffer) -> Bool { (try? input.write(contentsOf: Data(buffer: bytes))) != nil }

    /// Ends it; what it wrote so far stays. Only SIGKILL does that: the others are blocked in a child of a dispatch thread.
    func abandon() {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    func finish() throws {
        try? input.close()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw FastableError(
                .internal, "tar failed with status \(process.terminationStatus); see its message above.")
        }
    }
}

/// What a pipe gives, as a body. Reading blocks one thread of this short-lived program, which has nothing else to do.
private struct PipeBytes: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let handle: FileHandle

    struct AsyncIterator: AsyncIteratorProtocol {
        let handle: FileHandle

        mutating func next() async throws -> ByteBuffer? {
            guard let data = try handle.read(upToCount: 256 * 1024), !data.isEmpty else { return nil }
            return ByteBuffer(data: data)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(handle: handle) }
}

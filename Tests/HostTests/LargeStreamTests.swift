import AsyncHTTPClient
import FastableCompression
import FastableCore
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

/// More bytes than a daemon may hold go through all of it: what arrives is what was sent, and nobody's memory grows.
///
/// `make test` runs a short form; `make test-large` sends 10 GB. What is only read is a gigabyte in the short form too: a file
/// with a hole, which costs the disk nothing.
@Suite(
    "Large files and trees", .serialized, .timeLimit(.minutes(120)),
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct LargeStreamTests {
    private static let gigabytes = ProcessInfo.processInfo.environment["FASTABLE_LARGE_GIGABYTES"].flatMap(Double.init)
    private static let written = LargeContent(byteCount: Int((gigabytes ?? 0.2) * 1e9) + 12_345)
    private static let holeBytes = Int((gigabytes ?? 1) * 1e9)
    private static let timeoutSeconds = 3600
    /// Windows, buffers and the threads' share of the heap. A file that is held would be far above it.
    private static let memoryMegabytes = 48

    @Test func aFile() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let content = Self.written
            try await Self.expectFlatMemory(host, "upload of \(content.byteCount / 1_000_000) MB") {
                let answer = try await host.open(
                    .PUT, "/api/projects/p/fs/file?path=f", headers: ["content-type": "application/octet-stream"],
                    body: .stream(content.body(), length: .known(Int64(content.byteCount))),
                    timeoutSeconds: Self.timeoutSeconds)
                let result: FileWriteResult = try await Self.json(answer)
                #expect(result.sizeBytes == content.byteCount && result.sha256 == content.sha256)
            }
            try await Self.expectFlatMemory(host, "download") {
                let answer = try await host.open(
                    .GET, "/api/projects/p/fs/file?path=f", timeoutSeconds: Self.timeoutSeconds)
                var digest = PartDigest(of: 0..<content.byteCount)
                for try await part in answer.body { part.withUnsafeReadableBytes { digest.add($0) } }
                #expect(digest.total == content.byteCount && digest.sha256 == content.sha256)
            }
        }
    }

    @Test(arguments: [false, true]) func aTree(compressed: Bool) async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            _ = try await host.exec("p", "mkdir hole && truncate -s \(Self.holeBytes) hole/f")
            let content = Self.written
            // The size of a larger file does not fit into tar's header, and stands in another one before it.
            let headBytes = Self.holeBytes < 1 << 33 ? 512 : 1536
            var hole = PartDigest(of: headBytes..<(headBytes + Self.holeBytes))
            try await Self.pull(host, "hole", compressed, Self.holeBytes) { hole.add($0) }
            #expect(hole.sha256 == Self.zeroDigest(Self.holeBytes))

            try await Self.push(host, content, compressed)
            let head = content.byteCount < 1 << 33 ? 512 : 1536
            var back = PartDigest(of: head..<(head + content.byteCount))
            try await Self.pull(host, "tree", compressed, content.byteCount) { back.add($0) }
            #expect(back.sha256 == content.sha256)
        }
    }

    private static func pull(
        _ host: Installation, _ path: String, _ compressed: Bool, _ bytes: Int,
        _ take: (UnsafeRawBufferPointer) -> Void
    ) async throws {
        try await expectFlatMemory(host, "pull of \(bytes / 1_000_000) MB\(compressed ? ", compressed" : "")") {
            let answer = try await host.open(
                .GET, "/api/projects/p/fs/tree?path=\(path)",
                headers: ["accept": compressed ? "application/zstd" : "application/x-tar"],
                timeoutSeconds: timeoutSeconds)
            #expect(answer.status == .ok)
            var decoder = try ZstdDecoder()
            for try await part in answer.body {
                guard compressed else {
                    part.withUnsafeReadableBytes(take)
                    continue
                }
                decoder.append(Array(part.readableBytesView))
                while let expanded = try decoder.next() { expanded.withUnsafeBytes(take) }
            }
            let isWhole = decoder.isComplete
            #expect(isWhole)
        }
    }

    /// The archive of one file.
    private static func push(_ host: Installation, _ content: LargeContent, _ compressed: Bool) async throws {
        let head = TarHead.make("f", size: content.byteCount)
        let tail = ByteBuffer(repeating: 0, count: 1024 + (512 - content.byteCount % 512) % 512)
        let archive = content.body(after: head, before: tail)
        try await expectFlatMemory(
            host, "push of \(content.byteCount / 1_000_000) MB\(compressed ? ", compressed" : "")"
        ) {
            let body: HTTPClientRequest.Body =
                compressed
                ? .stream(Compressed(base: archive), length: .unknown) : .stream(archive, length: .unknown)
            let answer = try await host.open(
                .PUT, "/api/projects/p/fs/tree?path=tree",
                headers: ["content-type": compressed ? "application/zstd" : "application/x-tar"], body: body,
                timeoutSeconds: timeoutSeconds)
            let result: TreeResult = try await json(answer)
            #expect(result == TreeResult(files: 1, sizeBytes: Int64(content.byteCount)))
        }
    }

    private static func json<Value: Decodable>(_ answer: HTTPClientResponse) async throws -> Value {
        let body = Data(buffer: try await answer.body.collect(upTo: 1 << 20))
        #expect((200..<300).contains(answer.status.code), "\(String(decoding: body, as: UTF8.self))")
        return try JSON.decode(from: body)
    }

    private static func zeroDigest(_ count: Int) -> String {
        var digest = PartDigest(of: 0..<count)
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        while digest.total < count {
            zeros.withUnsafeBytes { digest.add(UnsafeRawBufferPointer(rebasing: $0.prefix(count - digest.total))) }
        }
        return digest.sha256
    }

    /// Looks at the memory of both daemons while something goes on.
    private static func expectFlatMemory(
        _ host: Installation, _ what: String, _ body: () async throws -> Void
    ) async throws {
        let before = try host.privateKilobytes()
        let highest = Mutex(before)
        let watch = Task {
            while !Task.isCancelled {
                let now = try host.privateKilobytes()
                highest.withLock { $0 = (max($0.node, now.node), max($0.controller, now.controller)) }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
        defer { watch.cancel() }
        let time = try await ContinuousClock().measure { try await body() }
        let most = highest.withLock { $0 }
        let node = (most.node - before.node) / 1024
        let controller = (most.controller - before.controller) / 1024
        print("\(what): \(time), memory of the node +\(node) MiB, of the controller +\(controller) MiB")
        #expect(node <= memoryMegabytes, "the node's memory grew during the \(what)")
        #expect(controller <= memoryMegabytes, "the controller's memory grew during the \(what)")
    }
}

/// A body as it is compressed.
private struct Compressed: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let base: LargeContent.Body

    final class AsyncIterator: AsyncIteratorProtocol {
        private var base: LargeContent.Body.AsyncIterator
        private var encoder: ZstdEncoder?
        private var isAtEnd = false

        init(_ base: LargeContent.Body.AsyncIterator) { self.base = base }

        func next() async throws -> ByteBuffer? {
            if encoder == nil { encoder = try ZstdEncoder() }
            var output: [UInt8] = []
            while output.isEmpty, !isAtEnd {
                if let bytes = try await base.next() {
                    try bytes.withUnsafeReadableBytes { try encoder?.compress($0, into: &output) }
                } else {
                    isAtEnd = true
                    try encoder?.finish(into: &output)
                }
            }
            return output.isEmpty ? nil : ByteBuffer(bytes: output)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base.makeAsyncIterator()) }
}

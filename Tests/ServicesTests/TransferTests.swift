import ControllerDomain
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct TransferTests {
    /// A body of so many chunks, which counts what was taken from it.
    private struct Body: AsyncSequence, Sendable {
        typealias Element = ByteBuffer
        let chunks: Int
        /// At its end it fails, once this has returned.
        var failure: (@Sendable () async throws -> Void)?
        let taken = Counter()

        final class Counter: Sendable {
            let value = Mutex(0)
        }

        struct AsyncIterator: AsyncIteratorProtocol {
            var body: Body
            var left: Int

            mutating func next() async throws -> ByteBuffer? {
                guard left > 0 else {
                    guard let failure = body.failure else { return nil }
                    try await failure()
                    throw FastableError(.cancelled, "The client went away.")
                }
                left -= 1
                body.taken.value.withLock { $0 += 1 }
                return ByteBuffer(repeating: UInt8(truncatingIfNeeded: left), count: 64 * 1024)
            }
        }

        func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self, left: chunks) }
    }

    private static let written = FileWriteResult(path: "big", sha256: "ab", sizeBytes: 1, created: true)

    @Test func changesAreToldUntilNobodyListens() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let (ended, continuation) = AsyncStream.makeStream(of: Void.self)
            nodes[0].handle(.fsWatch) { stream, opening in
                let call = try NodeRequest<FileCall<FileWatch>>(opening: opening).arguments
                #expect(call.arguments == FileWatch(path: "src"))
                try await stream.send(message: ByteBuffer(bytes: try JSON.encode(NodeReply.success(Empty()))))
                for name in ["a", "b"] {
                    let batch = FileWatchBatch(events: [FileWatchEvent(kind: .modified, path: name)])
                    try await stream.send(message: ByteBuffer(bytes: try JSON.encode(batch)))
                }
                while (try? await stream.next()) != nil {}
                continuation.finish()
            }
            var names: [String] = []
            do {
                let events = try await world.services.transfers.watch(
                    FileWatch(path: "src"), of: "shop", context: world.context())
                for try await batch in events {
                    names += batch.map(\.path)
                    if names.count == 2 { break }
                }
            }
            #expect(names == ["a", "b"])
            for await _ in ended {}
            let stranger = world.context(world.principal([.filesWrite]))
            await expectFailure(.forbidden) {
                _ = try await world.services.transfers.watch(FileWatch(), of: "shop", context: stranger)
            }
            nodes[0].handle(.fsWatch) { _, _ in throw FastableError(.limit, "Too many.") }
            await expectFailure(.limit) {
                _ = try await world.services.transfers.watch(FileWatch(), of: "shop", context: world.context())
            }
        }
    }

    @Test func aFileIsDownloadedWithItsHead() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].handle(.fileDownload) { stream, opening in
                let call = try NodeRequest<FileCall<FileDownload>>(opening: opening).arguments
                #expect(call.arguments == FileDownload(path: "big", offset: 5, length: 2_000_000))
                let head = FileDownloadHead(sizeBytes: 3_000_000, offset: 5, length: 2_000_000, version: "v1-2-3-4")
                try await stream.send(message: ByteBuffer(bytes: try JSON.encode(NodeReply.success(head))))
                try await stream.send(data: ByteBuffer(repeating: 7, count: 2_000_000), channel: 1)
                try await stream.finish()
            }
            let (head, bytes) = try await world.services.transfers.download(
                FileDownload(path: "big", offset: 5, length: 2_000_000), from: "shop", context: world.context())
            #expect(head.sizeBytes == 3_000_000)
            var count = 0
            for try await chunk in bytes {
                #expect(chunk.readableBytesView.allSatisfy { $0 == 7 })
                count += chunk.readableBytes
            }
            #expect(count == 2_000_000)
            #expect(world.services.metrics.value(.transferredBytes, ["out"]) == 2_000_000)
        }
    }

    @Test func aMissingFileIsAnErrorBeforeTheBytes() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].handle(.fileDownload) { _, _ in throw FastableError(.notFound, "There is no file ‘x’.") }
            await expectFailure(.notFound) {
                _ = try await world.services.transfers.download(
                    FileDownload(path: "x"), from: "shop", context: world.context())
            }
            nodes[0].handle(.treePull) { _, _ in throw FastableError(.notFound, "There is no directory ‘x’.") }
            await expectFailure(.notFound) {
                _ = try await world.services.transfers.pull(TreePull(path: "x"), from: "shop", context: world.context())
            }
            #expect(try await world.audit("fs.download").map(\.code) == [.notFound])
        }
    }

    @Test func aReaderThatGoesAwayStopsTheNode() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let stopped = Mutex(false)
            nodes[0].handle(.treePull) { stream, _ in
                do {
                    while true { try await stream.send(data: ByteBuffer(repeating: 1, count: 256 * 1024), channel: 1) }
                } catch {
                    stopped.withLock { $0 = true }
                    throw error
                }
            }
            var bytes: NodeBytes? = try await world.services.transfers.pull(
                TreePull(), from: "shop", context: world.context())
            if let bytes {
                for try await _ in bytes { break }
            }
            try await Task.sleep(for: .milliseconds(50))
            #expect(!stopped.withLock { $0 })
            bytes = nil
            try await eventually("the node stops sending") { stopped.withLock { $0 } }
        }
    }

    @Test func anUploadArrivesWholeAndIsAnswered() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let received = Mutex(0)
            nodes[0].handle(.fileUpload) { stream, _ in
                while let event = try await stream.next() {
                    if case .data(_, let bytes) = event { received.withLock { $0 += bytes.readableBytes } }
                }
                try await SimulatedNode.send(NodeReply.success(Self.written), on: stream)
            }
            let result = try await world.services.transfers.upload(
                FileUpload(path: "big"), Body(chunks: 100), to: "shop", context: world.context())
            #expect(result == Self.written)
            #expect(received.withLock { $0 } == 100 * 64 * 1024)
            let events = try await world.audit("fs.upload")
            #expect(events.map(\.phase) == [.intent, .outcome])
            #expect(events.map(\.subject) == ["big", "big"])
        }
    }

    @Test func aNodeThatRefusesEarlyIsHeardWhileTheBodyIsStillComing() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].handle(.fileUpload) { stream, _ in
                // It reads nothing: the sender is out of credit when this arrives.
                try await Task.sleep(for: .milliseconds(50))
                try await SimulatedNode.send(
                    NodeReply<FileWriteResult>.failure(FastableError(.stale, "It changed.")), on: stream)
                try await Task.sleep(for: .seconds(3600))
            }
            let body = Body(chunks: 1000)
            await expectFailure(.stale) {
                _ = try await world.services.transfers.upload(
                    FileUpload(path: "big"), body, to: "shop", context: world.context())
            }
            #expect(body.taken.value.withLock { $0 } < 200, "backpressure reaches the body")
        }
    }

    @Test func aClientThatGoesAwayLeavesNoHalfFile() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let outcome = Mutex("")
            nodes[0].handle(.treePush) { stream, _ in
                do {
                    while try await stream.next() != nil {}
                    outcome.withLock { $0 = "complete" }
                } catch {
                    outcome.withLock { $0 = "reset" }
                    throw error
                }
            }
            // What is given up before the node has heard of it, it never hears of.
            let body = Body(chunks: 10) {
                try await eventually("the node has the request") { nodes[0].methods.contains(.treePush) }
            }
            await expectFailure(.cancelled) {
                _ = try await world.services.transfers.push(
                    TreePush(path: "x", replace: true), body, to: "shop", context: world.context())
            }
            try await eventually("the node is told") { outcome.withLock { !$0.isEmpty } }
            #expect(outcome.withLock { $0 } == "reset")
        }
    }

    @Test func aTreeIsPushedAndPulled() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].handle(.treePush) { stream, _ in
                while try await stream.next() != nil {}
                try await SimulatedNode.send(NodeReply.success(TreeResult(files: 3, sizeBytes: 99)), on: stream)
            }
            let result = try await world.services.transfers.push(
                TreePush(), Body(chunks: 3), to: "shop", context: world.context())
            #expect(result == TreeResult(files: 3, sizeBytes: 99))
            nodes[0].handle(.treePull) { stream, _ in
                try await stream.send(data: ByteBuffer(string: "tar"), channel: 1)
                try await stream.send(data: ByteBuffer(string: "bytes"), channel: 1)
                try await stream.finish()
            }
            let bytes = try await world.services.transfers.pull(TreePull(), from: "shop", context: world.context())
            var text = ""
            for try await chunk in bytes { text += String(buffer: chunk) }
            #expect(text == "tarbytes")
            // An empty archive is one, too.
            nodes[0].handle(.treePull) { stream, _ in try await stream.finish() }
            let none = try await world.services.transfers.pull(TreePull(), from: "shop", context: world.context())
            for try await _ in none { Issue.record("there must be nothing") }
        }
    }
}

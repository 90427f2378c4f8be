import ControllerServices
import FastableCore
import FastableWire
import Foundation
import NIOCore
import NodeControl
import Synchronization
import TestSupport
import Testing

/// What does not fit into one message, over real TLS.
@Suite("Large answers and bodies", .serialized, .endsInTime)
struct LargeTransferTests {
    private static func with(
        _ special: @escaping FakeWork.Special, _ body: @escaping @Sendable (TestController) async throws -> Void
    ) async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            try await node.linked(work: FakeWork(node.name, special: special)) {
                try await controller.waitUntilReady(node)
                try await controller.run("projects_create", ["name": "shop"])
                try await body(controller)
            }
        }
    }

    /// A directory with as many entries as a listing gives, with long names: several MiB.
    @Test func anAnswerOfSeveralMiBArrivesWhole() async throws {
        let entries = (0..<Limits.listEntries).map { number in
            FileEntry(
                name: "\(number)-" + String(repeating: "ü", count: 200), kind: .file, sizeBytes: number, mode: "0644",
                modifiedMilliseconds: 1, symlinkTarget: nil)
        }
        let special: FakeWork.Special = { method, call, _ in
            guard method == .fsList else { return false }
            try await call.answer { (_: FileCall<FileList>) in
                FileListResult(path: ".", entries: entries, truncated: true)
            }
            return true
        }
        try await Self.with(special) { controller in
            try await withThrowingTaskGroup(of: Void.self) { group in
                // Several at once share the link.
                for _ in 0..<4 {
                    group.addTask {
                        let answer = try await controller.post(
                            "fs.list", ["project": "shop"], answerBytes: Limits.callReplyBytes)
                        #expect(answer.status == 200)
                        let names = (answer.body["entries"]?.array ?? []).map { $0["name"]?.string }
                        #expect(names == entries.map(\.name))
                    }
                }
                try await group.waitForAll()
            }
            #expect(try JSON.encode(entries).count > 4 * 1024 * 1024)
        }
    }

    /// The last answer that is a message, and the first that is bytes.
    @Test(arguments: [-1, 0, 1, 2]) func theBorderBetweenMessageAndBytes(_ more: Int) async throws {
        let empty = try JSON.encode(NodeReply.success(FileReadResult(path: "a", kind: .file, content: ""))).count
        let content = String(repeating: "x", count: Limits.controlMessageBytes - empty + more)
        let special: FakeWork.Special = { method, call, _ in
            guard method == .fsRead else { return false }
            try await call.reply(NodeReply.success(FileReadResult(path: "a", kind: .file, content: content)))
            return true
        }
        try await Self.with(special) { controller in
            let answer = try await controller.run("fs.read", ["project": "shop", "path": "a"])
            #expect(answer["content"]?.string == content)
        }
    }

    @Test func anAnswerWithoutEndIsCutAndTheLinkGoesOn() async throws {
        let special: FakeWork.Special = { method, _, stream in
            guard method == .fsRead else { return false }
            while true { try await stream.send(data: ByteBuffer(repeating: 32, count: 256 * 1024), channel: 1) }
        }
        try await Self.with(special) { controller in
            await expectFailure(.tooLarge) {
                try await controller.run("fs.read", ["project": "shop", "path": "a"])
            }
            let after = try await controller.run("shell.exec", ["project": "shop", "cmd": "x"])
            #expect(after["exitCode"] == 0)
        }
    }

    /// A body that is larger than a stream's window, which counts what was taken from it.
    private struct Body: AsyncSequence, Sendable {
        typealias Element = ByteBuffer
        let taken = Counter()

        final class Counter: Sendable { let value = Mutex(0) }

        struct AsyncIterator: AsyncIteratorProtocol {
            var body: Body

            mutating func next() async throws -> ByteBuffer? {
                let number = body.taken.value.withLock { taken in
                    taken += 1
                    return taken
                }
                return number <= 1000 ? ByteBuffer(repeating: 7, count: 64 * 1024) : nil
            }
        }

        func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self) }
    }

    /// The node says no and ends its side of the stream while the body is still coming. What it said counts, and not that it takes
    /// no more bytes.
    @Test(arguments: [0, 1, 40]) func aNodeThatRefusesEarlyIsHeard(after events: Int) async throws {
        let special: FakeWork.Special = { method, call, stream in
            guard method == .fileUpload || method == .treePush else { return false }
            for _ in 0..<events { _ = try await stream.next() }
            try await call.reply(NodeReply<Empty>.failure(FastableError(.stale, "It changed meanwhile.")))
            return true
        }
        try await Self.with(special) { controller in
            for _ in 0..<10 {
                let upload = Body()
                let refused = await expectFailure(.stale) {
                    _ = try await controller.services.transfers.upload(
                        FileUpload(path: "big"), upload, to: "shop", context: controller.context())
                }
                #expect(refused?.message == "It changed meanwhile.")
                #expect(upload.taken.value.withLock { $0 } < 200, "the rest of the body was not asked for")
                await expectFailure(.stale) {
                    _ = try await controller.services.transfers.push(
                        TreePush(path: "tree"), Body(), to: "shop", context: controller.context())
                }
            }
            // The link is none the worse for it.
            let after = try await controller.run("shell.exec", ["project": "shop", "cmd": "x"])
            #expect(after["exitCode"] == 0)
        }
    }
}

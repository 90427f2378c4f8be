import FastableCore
import Glibc
import NIOCore
import NodeLinux
import NodeSandbox
import Synchronization
import TestSupport
import Testing

/// One TCP connection from a container to a server of the fake internet that sends back what it gets.
final class EchoFlow: Sendable {
    private let session: ExecSession
    private let lines = LineCollector()
    private let reader: Task<Void, Never>
    private let server: Task<Void, Never>

    private init(_ node: TestNode, _ spec: ContainerSpec, _ internet: FakeInternet) async throws {
        server = internet.start(["busybox", "nc", "-ll", "-p", "7007", "-e", "cat"])
        let container = try await node.manager.ensure(spec)
        // The server may take a moment to listen.
        let script = "until nc \(internet.publicAddress) 7007; do sleep 0.3; done"
        let command = ExecCommand(
            arguments: ["/bin/sh", "-c", script], environment: ["PATH": "/bin"], timeoutMilliseconds: 200_000,
            takesInput: true)
        session = try await container.execs.start(
            exec: ExecID(), container: container.id, command: command, user: ExecUser(uid: 0, gid: 0))
        reader = Task { [session, lines] in
            do {
                for try await chunk in session.events() {
                    if case .data(1, let bytes) = chunk { lines.add(String(buffer: bytes)) }
                }
            } catch {}
        }
    }

    func send(_ text: String) async throws { try await session.write(ByteBuffer(string: text + "\n"), at: nil) }

    func expectEcho(_ text: String) async throws {
        if !lines.wasSent(text) {
            lines.sent(text)
            try await send(text)
        }
        // TCP sends again at growing intervals what was lost meanwhile.
        try await eventually("‘\(text)’ comes back") { lines.text.contains(text) }
    }

    func expectSilence(_ text: String) async throws {
        lines.sent(text)
        try await send(text)
        try await Task.sleep(for: .seconds(2))
        #expect(!lines.text.contains(text), "a packet came through")
    }

    private func end() async {
        reader.cancel()
        server.cancel()
        // The namespace is removed next, and must be empty.
        await server.value
    }

    static func with(
        _ node: TestNode, _ spec: ContainerSpec, _ internet: FakeInternet, _ body: (EchoFlow) async throws -> Void
    ) async throws {
        let flow = try await EchoFlow(node, spec, internet)
        do { try await body(flow) } catch {
            await flow.end()
            throw error
        }
        await flow.end()
    }
}

private final class LineCollector: Sendable {
    private let state = Mutex<(text: String, sent: Set<String>)>(("", []))

    var text: String { state.withLock { $0.text } }

    func add(_ text: String) { state.withLock { $0.text += text } }

    func sent(_ text: String) { state.withLock { _ = $0.sent.insert(text) } }

    func wasSent(_ text: String) -> Bool { state.withLock { $0.sent.contains(text) } }
}

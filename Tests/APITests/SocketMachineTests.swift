import ControllerAPI
import NIOCore
import NIOHTTP1
import NIOWebSocket
import Testing

@Suite struct WebSocketStateMachineTests {
    private typealias Machine = WebSocketStateMachine
    private let settings: WebSocketSettings
    private let begin = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    init() {
        var settings = WebSocketSettings()
        settings.pingInterval = .seconds(20)
        settings.silence = .seconds(60)
        settings.closeTime = .seconds(10)
        settings.abortTime = .seconds(2)
        settings.messageBytes = 100
        settings.messageFragments = 4
        self.settings = settings
    }

    private func at(_ seconds: Int64) -> NIODeadline { begin + .seconds(seconds) }

    private func frame(_ opcode: WebSocketOpcode, _ text: String = "", fin: Bool = true) -> WebSocketFrame {
        WebSocketFrame(
            fin: fin, opcode: opcode, maskKey: [1, 2, 3, 4],
            data: {
                var data = ByteBuffer(string: text)
                data.webSocketMask([1, 2, 3, 4])
                return data
            }())
    }

    private func goodbye(_ code: UInt16) -> WebSocketFrame {
        var data = ByteBuffer(integer: code)
        data.webSocketMask([1, 2, 3, 4])
        return WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: [1, 2, 3, 4], data: data)
    }

    @Test func aClientIsPingedAndMayBeSilentForAWhileOnly() {
        var machine = Machine(settings, now: begin)
        #expect(machine.deadline == at(20))
        #expect(machine.tick(now: at(19), isListening: true).isEmpty)
        #expect(machine.tick(now: at(20), isListening: true) == [.sendPing])
        machine.heard(now: at(21))
        #expect(machine.tick(now: at(40), isListening: true) == [.sendPing])
        #expect(machine.tick(now: at(60), isListening: true) == [.sendPing])
        #expect(machine.deadline == at(80))
        #expect(machine.tick(now: at(80), isListening: true) == [.sendPing])
        #expect(machine.deadline == at(81))
        guard case .sendClose(let close)? = machine.tick(now: at(81), isListening: true).first else {
            Issue.record("still open")
            return
        }
        #expect(close.code == .goingAway && machine.deadline == at(83))
        #expect(machine.tick(now: at(83), isListening: true) == [.closeChannel])
        #expect(machine.deadline == nil)
    }

    /// A command that does not read stops the socket's reads: nothing can be heard then.
    @Test func timeInWhichNobodyListensIsNoSilence() {
        var machine = Machine(settings, now: begin)
        for second in stride(from: Int64(20), through: 2000, by: 20) {
            #expect(machine.tick(now: at(second), isListening: false).isEmpty)
        }
        #expect(machine.tick(now: at(2059), isListening: true) == [.sendPing])
        #expect(machine.isOpen)
        #expect(machine.tick(now: at(2060), isListening: true).contains(.deliverEnd))
    }

    @Test func theRoutesEndSaysGoodbyeAndWaitsForTheAnswer() {
        var machine = Machine(settings, now: begin)
        #expect(machine.routeEnded(now: begin) == [.sendClose(WebSocketClose(.normalClosure, "")), .deliverEnd])
        #expect(!machine.isOpen && machine.isClosing)
        #expect(machine.received(frame(.binary, "late"), now: at(1)).isEmpty)
        #expect(machine.routeEnded(now: at(1)).isEmpty)
        #expect(machine.closeWasSent(now: at(5)).isEmpty)
        #expect(machine.deadline == at(15))
        #expect(machine.received(goodbye(1000), now: at(6)) == [.closeChannel])
    }

    /// The answer can come before the network has taken our goodbye only from a client that did not wait for it.
    @Test func anEarlyAnswerDoesNotCutTheGoodbye() {
        var machine = Machine(settings, now: begin)
        _ = machine.routeEnded(now: begin)
        #expect(machine.received(goodbye(1000), now: at(1)).isEmpty)
        #expect(machine.closeWasSent(now: at(2)) == [.closeChannel])
    }

    @Test func aClientThatNeverReadsTheGoodbyeIsHungUpOn() {
        var machine = Machine(settings, now: begin)
        _ = machine.routeEnded(now: begin)
        #expect(machine.tick(now: at(59), isListening: false).isEmpty)
        #expect(machine.tick(now: at(60), isListening: false) == [.closeChannel])
    }

    /// The route carries out what was sent before; then the goodbye is answered with its own code.
    @Test func theClientsGoodbyeEndsTheInputAndIsAnsweredWhenTheRouteIsDone() {
        var machine = Machine(settings, now: begin)
        #expect(machine.received(goodbye(3001), now: begin) == [.deliverEnd])
        #expect(machine.received(frame(.binary, "late"), now: begin).isEmpty)
        #expect(machine.routeEnded(now: at(1)) == [.sendClose(WebSocketClose(.unknown(3001), ""))])
        #expect(machine.closeWasSent(now: at(1)) == [.closeChannel])

        var impatient = Machine(settings, now: begin)
        _ = impatient.received(goodbye(1001), now: begin)
        #expect(impatient.tick(now: at(2), isListening: true) == [.sendClose(WebSocketClose(.goingAway, ""))])
    }

    @Test func messagesAreJoinedWithinTheLimits() {
        var machine = Machine(settings, now: begin)
        #expect(machine.received(frame(.binary, "whole"), now: begin) == [.deliver(ByteBuffer(string: "whole"))])
        #expect(machine.received(frame(.binary, "a", fin: false), now: begin).isEmpty)
        #expect(machine.received(frame(.continuation, "b", fin: false), now: begin).isEmpty)
        #expect(machine.received(frame(.ping, "?"), now: begin).isEmpty)
        #expect(machine.takePong() == ByteBuffer(string: "?"))
        #expect(machine.takePong() == nil)
        #expect(machine.received(frame(.continuation, "c"), now: begin) == [.deliver(ByteBuffer(string: "abc"))])
    }

    @Test(arguments: [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] as [UInt16])
    func codesThatMustNotBeSentAreRefused(code: UInt16) {
        var machine = Machine(settings, now: begin)
        guard case .sendClose(let close)? = machine.received(goodbye(code), now: begin).first else {
            Issue.record("\(code) was taken")
            return
        }
        #expect(close.code == .protocolError)
    }

    /// Whatever comes, in whatever order: at most one goodbye, one end of input, one hanging up; nothing is delivered behind the
    /// end; and it is over in bounded time.
    @Test(arguments: SeededGenerator.seeds) func everySequenceEndsInOrder(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            var machine = Machine(settings, now: begin)
            var now = begin
            var actions: [Machine.Action] = []
            for _ in 0..<Int.random(in: 0...40, using: &generator) {
                now = now + .seconds(Int64.random(in: 0...8, using: &generator))
                actions += step(&machine, now, &generator)
            }
            for _ in 0..<200 {
                guard let deadline = machine.deadline else { break }
                now = max(now, deadline)
                actions += machine.tick(now: now, isListening: true)
            }
            #expect(machine.deadline == nil)
            check(actions)
        }
    }

    private func step(
        _ machine: inout Machine, _ now: NIODeadline, _ generator: inout SeededGenerator
    ) -> [Machine.Action] {
        let size = Int.random(in: 0...60, using: &generator)
        let text = String(repeating: "x", count: size)
        switch Int.random(in: 0...20, using: &generator) {
        case 0...6: return machine.received(frame(.binary, text), now: now)
        case 7: return machine.received(frame(.binary, text, fin: false), now: now)
        case 8...9: return machine.received(frame(.continuation, text, fin: Bool.random(using: &generator)), now: now)
        case 10: return machine.received(frame(.ping, text), now: now)
        case 11: return machine.received(frame(.pong, text), now: now)
        case 12: return machine.received(goodbye(1000), now: now)
        case 13: return machine.routeEnded(now: now)
        case 14: return machine.close(WebSocketClose(.policyViolation, "no"), now: now)
        case 15: return machine.closeWasSent(now: now)
        case 16: return machine.decodingFailed(.invalidFrameLength, now: now)
        case 17:
            machine.heard(now: now)
            return []
        default: return machine.tick(now: now, isListening: Bool.random(using: &generator))
        }
    }

    private func check(_ actions: [Machine.Action]) {
        var (ends, goodbyes, hangUps) = (0, 0, 0)
        for action in actions {
            #expect(hangUps == 0, "after it was hung up: \(action)")
            switch action {
            case .deliver(let message): #expect(ends == 0 && message.readableBytes <= settings.messageBytes)
            case .deliverEnd: ends += 1
            case .sendPing: #expect(goodbyes == 0)
            case .sendClose: goodbyes += 1
            case .closeChannel: hangUps += 1
            }
        }
        #expect(ends == 1 && goodbyes == 1 && hangUps == 1)
    }
}

@Suite struct UpgradeStateMachineTests {
    private func head(
        _ method: HTTPMethod = .GET, _ headers: HTTPHeaders = ["upgrade": "websocket", "connection": "Upgrade"],
        version: HTTPVersion = .http1_1
    ) -> HTTPRequestHead {
        HTTPRequestHead(version: version, method: method, uri: "/", headers: headers)
    }

    @Test func theEndIsHeldUntilTheAnswer() {
        var machine = UpgradeStateMachine()
        #expect(machine.began(head()) == true)
        #expect(!machine.holdsReads)
        #expect(machine.requestEnded() == .hold)
        #expect(machine.holdsReads)
        #expect(machine.answerBegan(.switchingProtocols) == .upgrade)
        #expect(!machine.holdsReads)
        #expect(machine.requestEnded() == .pass, "the end of what the socket sent")

        var refused = UpgradeStateMachine()
        _ = refused.began(head())
        _ = refused.requestEnded()
        #expect(refused.answerBegan(.unauthorized) == .passAsLast(releasesEnd: true))
        #expect(refused.holdsReads)
    }

    @Test func ordinaryRequestsPass() {
        var machine = UpgradeStateMachine()
        for _ in 0..<3 {
            #expect(machine.began(head(.POST, [:])) == false)
            #expect(machine.requestEnded() == .pass)
            #expect(!machine.holdsReads)
            #expect(machine.answerBegan(.ok) == .pass)
            machine.answerEnded()
        }
    }

    @Test(
        arguments: [
            ["upgrade": "h2c", "connection": "Upgrade, HTTP2-Settings"],
            ["upgrade": "websocket", "connection": "keep-alive, upgrade", "content-length": "3"],
            ["upgrade": "websocket", "connection": "upgrade", "transfer-encoding": "chunked"],
        ] as [HTTPHeaders])
    func whatStopsTheDecoderWithoutBecomingASocketIsAnsweredLast(headers: HTTPHeaders) {
        var machine = UpgradeStateMachine()
        #expect(machine.began(head(.GET, headers)) == false)
        #expect(machine.requestEnded() == .pass)
        #expect(machine.holdsReads)
        #expect(machine.answerBegan(.ok) == .passAsLast(releasesEnd: false))
    }

    /// The answers of requests in front of it are none of its own.
    @Test func behindAnUnansweredRequestItDoesNotUpgrade() {
        var machine = UpgradeStateMachine()
        _ = machine.began(head(.POST, [:]))
        _ = machine.requestEnded()
        #expect(machine.began(head()) == false)
        #expect(machine.requestEnded() == .pass)
        #expect(machine.answerBegan(.ok) == .pass)
        machine.answerEnded()
        #expect(machine.answerBegan(.upgradeRequired) == .passAsLast(releasesEnd: false))
    }
}

import AsyncHTTPClient
import ControllerAPI
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct EventTests {
    private func events(_ answer: TestServer.Answer) throws -> [(name: String, data: JSONValue)] {
        #expect(answer.status == 200 && answer.headers.first(name: "content-type") == "text/event-stream")
        #expect(answer.headers.first(name: "x-accel-buffering") == "no")
        var reader = EventReader()
        reader.append(answer.body.readableBytesView)
        #expect(reader.events.map(\.id) == reader.events.indices.map { "\($0 + 1)" })
        return try reader.events.map { ($0.event, try JSON.decode(JSONValue.self, from: Data($0.data.utf8))) }
    }

    @Test func outputComesInOrderAndTheResultLast() async throws {
        try await withServer { server in
            let input = #"{"pieces":["one\n","two","three \"€\"\n"],"pauseMs":5}"#
            let events = try events(try await server.tool("test.print", input, accept: "text/event-stream"))
            #expect(events.map(\.name) == ["started", "output", "output", "output", "result"])
            #expect(events[0].data["execId"]?.string == TestBackend.exec.description)
            #expect(events[1].data == ["stream": "stdout", "offset": 0, "text": "one\n"])
            #expect(events[2].data == ["stream": "stderr", "offset": 0, "text": "two"])
            #expect(events[3].data == ["stream": "stdout", "offset": 4, "text": "three \"€\"\n"])
            #expect(events[4].data == ["count": 3, "collected": true])
        }
    }

    @Test func bytesThatAreNoTextComeAsBase64() async throws {
        try await withServer { server in
            let events = try events(try await server.tool("test.bytes", "{}", accept: "text/event-stream"))
            #expect(events.map(\.name) == ["output", "output", "result"])
            #expect(events[0].data == ["stream": "stdout", "offset": 0, "base64": "/wD+"])
            #expect(events[1].data == ["stream": "stderr", "offset": 0, "base64": "4oI="])
        }
    }

    /// The output is there while the command still runs.
    @Test func eventsArriveLive() async throws {
        try await withServer { server in
            let request = server.toolRequest("test.wait", #"{"print":true}"#, accept: "text/event-stream")
            let response = try await server.client.execute(request, timeout: .minutes(5))
            var reader = EventReader()
            for try await part in response.body {
                reader.append(part.readableBytesView)
                guard reader.events.contains(where: { $0.data.contains("waiting") }) else { continue }
                // Asked before the body is given up: that is what cancels the command.
                #expect(!server.backend.probe.all.contains("cancelled"))
                return
            }
            Issue.record("the answer ended while the command still ran")
        }
    }
}

@Suite(.endsInTime) struct FrameTests {
    private func frames(_ answer: TestServer.Answer) throws -> [Frame] {
        #expect(answer.status == 200 && answer.headers.first(name: "content-type") == "application/vnd.fastable.frames")
        var decoder = FrameStreamDecoder()
        decoder.append(answer.body)
        var frames: [Frame] = []
        while let frame = try decoder.next() { frames.append(frame) }
        try decoder.finish()
        return frames
    }

    @Test func outputIsByteExactAndTheResultLast() async throws {
        try await withServer { server in
            let accept = "application/vnd.fastable.frames"
            let frames = try frames(try await server.tool("test.bytes", "{}", accept: accept))
            #expect(frames.map(\.type) == [.data, .data, .message] && frames.map(\.channel) == [1, 2, 0])
            #expect(Array(frames[0].payload.readableBytesView) == [0xff, 0x00, 0xfe])
            #expect(String(buffer: frames[2].payload) == #"{"result":{}}"#)

            let printed = try self.frames(try await server.tool("test.print", #"{"pieces":[]}"#, accept: accept))
            #expect(printed.map(\.type) == [.message, .message])
            #expect(String(buffer: printed[0].payload) == #"{"started":{"execId":"\#(TestBackend.exec)"}}"#)
            #expect(String(buffer: printed[1].payload) == #"{"result":{"collected":false,"count":0}}"#)
        }
    }

    @Test func missingOutputIsToldInItsPlace() async throws {
        try await withServer { server in
            let frames = try frames(try await server.tool("test.gap", "{}", accept: "application/vnd.fastable.frames"))
            #expect(frames.map(\.type) == [.data, .message, .data, .message])
            #expect(String(buffer: frames[1].payload) == #"{"gap":{"from":2,"stream":"stdout","to":100}}"#)
            let answer = try await server.tool("test.gap", "{}", accept: "text/event-stream")
            var reader = EventReader()
            reader.append(answer.body.readableBytesView)
            #expect(reader.events.map(\.event) == ["output", "output", "gap", "output", "result"])
            // What was cut in the middle of a character is shown before the gap, and offsets go on behind it.
            #expect(reader.events[1].data.contains(#""offset":1,"base64""#))
            #expect(reader.events[3].data == #"{"stream":"stdout","offset":100,"text":"b"}"#)
        }
    }

    @Test func whatIsFoundComesAsEventsAndOnlyOnce() async throws {
        try await withServer { server in
            let answer = try await server.tool("test.find", "{}", accept: "text/event-stream")
            var reader = EventReader()
            reader.append(answer.body.readableBytesView)
            #expect(reader.events.map(\.event) == ["found", "found", "result"])
            #expect(reader.events.first?.data == #"{"path":"a"}"#)
            #expect(reader.events.last?.data == #"{"collected":false,"key":null}"#)
            // Frames have no place for it.
            let frames = try frames(
                try await server.tool("test.find", "{}", accept: "application/vnd.fastable.frames"))
            #expect(frames.map { String(buffer: $0.payload) } == [#"{"result":{"collected":true,"key":null}}"#])
        }
    }

    @Test func aKeyGoesWithEveryForm() async throws {
        try await withServer { server in
            for accept in ["application/json", "text/event-stream", "application/vnd.fastable.frames"] {
                var request = server.toolRequest("test.find", "{}", accept: accept)
                request.headers.add(name: "idempotency-key", value: "k-1")
                let answer = try await server.send(request)
                #expect(answer.status == 200 && String(buffer: answer.body).contains(#""key":"k-1""#), "\(accept)")
            }
        }
    }

    @Test(arguments: [(3_000_000, 1_000_000), (3_000_000, 4096), (100_000, 7), (262_145, 262_145)])
    func muchOutputComesWhole(bytes: Int, chunk: Int) async throws {
        try await withServer { server in
            let input = #"{"bytes":\#(bytes),"chunk":\#(chunk)}"#
            let frames = try frames(
                try await server.tool("test.flood", input, accept: "application/vnd.fastable.frames"))
            let data = frames.dropLast()
            #expect(data.allSatisfy { $0.type == .data && $0.channel == 1 && $0.payload.readableBytes > 0 })
            #expect(data.reduce(0) { $0 + $1.payload.readableBytes } == bytes)
            #expect(frames.last?.type == .message)
        }
    }

    /// However much there is to print. How much is on its way when the command stands still depends on how busy the machine is.
    @Test func aSlowReaderSlowsTheCommand() async throws {
        try await withServer { server in
            let total = 16 * 1024 * 1024 * 1024
            let request = server.toolRequest(
                "test.flood", #"{"bytes":\#(total),"chunk":262144}"#, accept: "application/vnd.fastable.frames")
            let response = try await server.client.execute(request, timeout: .minutes(5))
            var iterator = response.body.makeAsyncIterator()
            _ = try await iterator.next()
            func printed() -> Int { server.backend.probe.all.count }
            try await eventually("it stands still") {
                let before = printed()
                try await Task.sleep(for: .milliseconds(300))
                return printed() == before
            }
            let before = printed()
            #expect(server.backend.probe.all.last != "sent \(total)")
            while printed() == before, try await iterator.next() != nil {}
            try await eventually("it goes on") { printed() > before }
        }
    }

    @Test(.measuresOnDemand) func muchOutputIsFast() async throws {
        try await withServer { server in
            let total = 256 * 1024 * 1024
            let request = server.toolRequest(
                "test.flood", #"{"bytes":\#(total),"chunk":262144}"#, accept: "application/vnd.fastable.frames")
            let began = ContinuousClock.now
            let response = try await server.client.execute(request, timeout: .minutes(5))
            var received = 0
            for try await part in response.body { received += part.readableBytes }
            let seconds = (ContinuousClock.now - began) / .seconds(1)
            #expect(received > total && seconds < 20)
            print("frames: \(Int(Double(total) / seconds / 1_000_000)) MB/s")
        }
    }

    @Test func aListOfFormsTakesTheFirstKnown() async throws {
        try await withServer { server in
            for (accept, type) in [
                ("*/*", "application/json"), ("text/html, text/event-stream;q=0.9", "text/event-stream"),
                ("application/json, text/event-stream", "application/json"),
                ("TEXT/Event-Stream", "text/event-stream"),
            ] {
                let answer = try await server.tool("test.echo", #"{"text":""}"#, accept: accept)
                #expect(answer.headers.first(name: "content-type") == type, "\(accept)")
            }
        }
    }
}

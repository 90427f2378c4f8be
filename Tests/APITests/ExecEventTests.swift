import AsyncHTTPClient
import ControllerAPI
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

@Suite(.endsInTime) struct ExecEventTests {
    private let path = "/api/execs/\(TestBackend.exec)/output"

    private func request(_ server: TestServer, _ query: String = "", lastEvent: String? = nil) -> HTTPClientRequest {
        var request = server.request(.GET, path + query)
        request.headers.add(name: "accept", value: "text/event-stream")
        if let lastEvent { request.headers.add(name: "last-event-id", value: lastEvent) }
        return request
    }

    private func events(
        _ server: TestServer, _ query: String = "", lastEvent: String? = nil
    ) async throws -> [EventReader.Event] {
        let answer = try await server.send(request(server, query, lastEvent: lastEvent))
        #expect(answer.status == 200 && answer.headers.first(name: "content-type") == "text/event-stream")
        #expect(answer.headers.first(name: "x-accel-buffering") == "no")
        var reader = EventReader()
        reader.append(answer.body.readableBytesView)
        return reader.events
    }

    private func json(_ event: EventReader.Event) throws -> JSONValue { try JSONParser.parse(Data(event.data.utf8)) }

    @Test func bothStreamsGapsAndTheResultComeWithIdsOfBothOffsets() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                try await command.print("one\n")
                try await command.tell(.inputPassed(upTo: 9))
                try await command.print(ByteBuffer(bytes: [0xff, 0, 0xfe]), channel: 2)
                try await command.tell(.gap(channel: 1, from: 4, to: 100))
                try await command.print("two\n")
                try await command.end(code: 3, stdoutBytes: 104, stderrBytes: 3)
            }
            let events = try await events(server)
            #expect(events.map(\.event) == ["started", "stdout", "stderr", "gap", "stdout", "result"])
            #expect(events.map(\.id) == ["0-0", "4-0", "4-3", "100-3", "104-3", "104-3-end"])
            let exec = JSONValue.string(TestBackend.exec.description)
            #expect(try json(events[0]) == ["execId": exec, "stdoutOffset": 0, "stderrOffset": 0])
            #expect(try json(events[1]) == ["stream": "stdout", "offset": 0, "text": "one\n"])
            #expect(try json(events[2]) == ["stream": "stderr", "offset": 0, "base64": "/wD+"])
            #expect(try json(events[3]) == ["stream": "stdout", "from": 4, "to": 100])
            #expect(try json(events[4]) == ["stream": "stdout", "offset": 100, "text": "two\n"])
            #expect(try json(events[5])["exitCode"] == 3)
            #expect(try json(events[5])["stdoutBytes"] == 104)
        }
    }

    /// A client that comes again with the id of any event gets exactly what is behind it, also within a character.
    @Test func eachEventCanBeResumedBehind() async throws {
        let text = "früh: 10 € – ok\n"
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                let rest = Array(text.utf8).dropFirst(Int(command.wanted.offsets.stdout))
                for byte in rest { try await command.print(ByteBuffer(bytes: [byte])) }
                try await command.end()
            }
            let all = try await events(server)
            #expect(all.count > 2)
            for (index, event) in all.enumerated() where !event.id.hasSuffix("-end") {
                let before = try all[...index].map { try json($0)["text"]?.string ?? "" }.joined()
                let after = try await events(server, lastEvent: event.id).map { try json($0)["text"]?.string ?? "" }
                #expect(before + after.joined() == text, "resumed behind \(event.id)")
            }
        }
    }

    @Test func theEndIsNotRepeatedForABrowserThatComesAgain() async throws {
        try await withServer { server in
            let last = try #require(try await events(server).last)
            #expect(last.event == "result")
            let again = try await server.send(request(server, lastEvent: last.id))
            #expect(again.status == 204 && again.body.readableBytes == 0)
        }
    }

    @Test func theQueryChoosesStreamAndOffsets() async throws {
        try await withServer { server in
            _ = try await events(server, "?stream=stderr&offset=7&follow=true")
            _ = try await events(server, "?stdout=3&stderr=4")
            _ = try await events(server, "?stdout=3&stderr=4", lastEvent: "30-40")
            _ = try await events(server, "?tail=12")
            // A reader that comes again goes on where it was.
            _ = try await events(server, "?tail=12", lastEvent: "50-60")
            #expect(
                server.backend.node.attachments == [
                    .init(start: .at(ExecOffsets(stderr: 7)), input: nil, only: .stderr),
                    .init(start: .at(ExecOffsets(stdout: 3, stderr: 4)), input: nil, only: nil),
                    .init(start: .at(ExecOffsets(stdout: 30, stderr: 40)), input: nil, only: nil),
                    .init(start: .last(12), input: nil, only: nil),
                    .init(start: .at(ExecOffsets(stdout: 50, stderr: 60)), input: nil, only: nil),
                ])
        }
    }

    @Test(arguments: [
        "?offset=3", "?follow=false", "?stream=both", "?stdin=append", "?stdout=x", "?tail=3&stdout=1", "?tail=-1",
    ])
    func queriesThatMakeNoSenseAreRefused(query: String) async throws {
        try await withServer { server in
            let answer = try await server.send(request(server, query))
            #expect(answer.status == 400)
        }
    }

    @Test(arguments: ["7", "1-", "1-2-3", "a-b", "-1-2", "1-2-end-end"])
    func idsThatAreNotOursAreRefused(id: String) async throws {
        try await withServer { server in
            let answer = try await server.send(request(server, lastEvent: id))
            #expect(answer.status == 400)
        }
    }

    @Test func aLostLinkIsTheLastEventAndSaysWhereToGoOn() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                try await command.print(ByteBuffer(bytes: Array("ab".utf8) + [0xe2, 0x82]))
                await command.waitForReset()
            }
            let response = try await server.client.execute(request(server), timeout: .minutes(5))
            var reader = EventReader()
            for try await part in response.body {
                reader.append(part.readableBytesView)
                if reader.events.map(\.event) == ["started", "stdout"] { server.backend.node.sever() }
            }
            #expect(reader.events.map(\.event) == ["started", "stdout", "stdout", "error"])
            // The beginning of a character that never came to its end.
            #expect(try json(reader.events[2]) == ["stream": "stdout", "offset": 2, "base64": "4oI="])
            #expect(reader.events[3].id == "4-0")
            #expect(try json(reader.events[3])["code"] == "unavailable")
        }
    }

    @Test func outputIsLiveAndAReaderThatGoesAwayLeavesTheCommandAlone() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                try await command.print("waiting\n")
                await command.waitForReset()
                server.backend.probe.note("gone")
            }
            let reading = Task {
                let response = try await server.client.execute(request(server), timeout: .minutes(5))
                var reader = EventReader()
                for try await part in response.body {
                    reader.append(part.readableBytesView)
                    if reader.events.contains(where: { $0.data.contains("waiting") }) {
                        server.backend.probe.note("seen")
                    }
                }
            }
            #expect(await server.backend.probe.saw("seen"))
            #expect(!server.backend.probe.all.contains("gone"))
            reading.cancel()
            #expect(await server.backend.probe.saw("gone"))
            _ = await reading.result
        }
    }

    @Test func anotherExecDoesNotExist() async throws {
        try await withServer { server in
            var request = server.request(.GET, "/api/execs/\(ExecID())/output")
            request.headers.add(name: "accept", value: "text/event-stream")
            let answer = try await server.send(request)
            #expect(answer.status == 404)
        }
    }
}

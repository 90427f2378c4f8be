import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore

/// Reads a stream of events. One that is followed begins again whenever it ends, behind the event that came last.
struct EventFollower {
    let client: Client
    /// What to ask for: everything behind an event, when there was one.
    let request: (_ lastID: String?) -> HTTPClientRequest
    let show: (_ event: String, _ data: Data) throws -> Void

    private var lines = EventLines()

    private static let firstPause = Duration.milliseconds(250)
    private static let longestPause = Duration.seconds(5)

    init(
        client: Client, request: @escaping (_ lastID: String?) -> HTTPClientRequest,
        show: @escaping (_ event: String, _ data: Data) throws -> Void
    ) {
        self.client = client
        self.request = request
        self.show = show
    }

    /// One answer, to its end.
    mutating func readOnce() async throws {
        do { try await read() } catch let lost as Lost { throw Client.lost(lost.cause) }
    }

    /// Until something says that coming again is of no use. The first answer may be a refusal of any kind.
    mutating func follow() async throws -> Never {
        do { try await read() } catch is Lost {}
        while true { try await comeBack() }
    }

    private struct Lost: Error { var cause: any Error }

    private mutating func read() async throws {
        let response = try await client.send(request(lines.lastID), timeout: .hours(24 * 365))
        var body = response.body.makeAsyncIterator()
        while true {
            let chunk: ByteBuffer?
            do { chunk = try await body.next() } catch { throw Lost(cause: error) }
            guard let chunk else { return }
            for (event, data) in lines.take(Array(chunk.readableBytesView)) { try show(event, data) }
        }
    }

    /// Streams end by themselves now and then, and the controller or the node may be restarted.
    private mutating func comeBack() async throws {
        var pause = Self.firstPause
        while true {
            try await Task.sleep(for: pause)
            lines.forgetPartial()
            do {
                return try await read()
            } catch is Lost {
                return
            } catch let error as FastableError where [.unavailable, .timeout, .limit].contains(error.code) {
                // The place of the connection that was lost may still be taken.
                if pause == Self.firstPause { Output.error("the connection is lost; trying again") }
                pause = min(pause * 2, Self.longestPause)
            }
        }
    }
}

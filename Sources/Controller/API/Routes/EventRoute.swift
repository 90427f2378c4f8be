import ControllerDomain
import ControllerServices
import FastableCore
import HTTPTypes
import NIOCore

/// `GET /api/events`: what happens in the workspace, as server-sent events.
///
/// The id of each event is its place. A client that comes back (`Last-Event-ID`, or `after`) gets everything behind the last one that it
/// has seen; when some of that is no longer kept, `lost` comes first. It follows unless `follow=false`, which ends with what there is.
struct EventRoute: Sendable {
    let backend: any APIBackend

    static let events = "/api/events"

    func add(to table: inout RouteTable<Route>) { table.bearer(.get, Self.events, follow) }

    private func follow(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let parameters = try request.queryParameters(["project", "kinds", "after", "follow"])
        let seen = request.headers[.lastEventID] ?? parameters["after"]
        let query = EventQuery(
            project: parameters["project"],
            kinds: (parameters["kinds"] ?? "").split(separator: ",").map(String.init),
            after: try seen.map(EventPlace.parse),
            follows: try parameters["follow"] == nil || parameters.flag("follow"))
        let events = try await backend.follow(query, context: request.context(principal, door: .rest))
        var reply = BytePump.reply(
            EventText(events: events), type: EventStream.mediaType, keepAlive: EventStream.keepAlive, for: request)
        reply.headers[.accelBuffering] = "no"
        return reply
    }
}

/// What happens, as the text of an event stream.
private struct EventText: AsyncSequence, Sendable {
    let events: PlatformEvents

    func makeAsyncIterator() -> Iterator { Iterator(events: events.makeAsyncIterator()) }

    struct Iterator: AsyncIteratorProtocol {
        private var events: any AsyncIteratorProtocol<EventFeed.Element, any Error>

        init(events: any AsyncIteratorProtocol<EventFeed.Element, any Error>) { self.events = events }

        mutating func next() async throws -> ByteBuffer? {
            guard let element = try await events.next(isolation: nil) else { return nil }
            var buffer = ByteBuffer()
            switch element {
            case .lost(let place):
                try write(LostEventsView.kind, "\(place - 1)", LostEventsView(before: place), to: &buffer)
            case .events(let events):
                for event in events {
                    try write(event.event.kind.rawValue, "\(event.sequence)", EventView(event), to: &buffer)
                }
            case .passed(let place):
                // An id alone is no event, but where a client goes on.
                buffer.writeString("id: \(place)\n\n")
            }
            return buffer
        }

        private func write(_ event: String, _ id: String, _ value: some Encodable, to buffer: inout ByteBuffer) throws {
            EventStream.write(event: event, id: id, data: ByteBuffer(bytes: try JSON.encode(value)), to: &buffer)
        }
    }
}

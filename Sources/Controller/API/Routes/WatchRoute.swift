import ControllerDomain
import FastableCore
import HTTPTypes
import NIOCore

/// `GET …/fs/watch`: what changes in a project, as server-sent events.
///
/// `ready` comes first, once everything is watched; then `created`, `modified`, `deleted`, `moved` and `rescan`. A client that comes
/// back (`Last-Event-ID`) gets a `rescan` first: what happened between is not kept.
struct WatchRoute: Sendable {
    let backend: any APIBackend

    static let watch = "/api/projects/{project}/fs/watch"

    func add(to table: inout RouteTable<Route>) { table.bearer(.get, Self.watch, watch) }

    private func watch(_ request: APIRequest, _ principal: Principal) async throws -> Reply {
        let watch = FileWatch(path: try request.queryParameters(["path"])["path"])
        let events = try await backend.watch(
            watch, of: request.parameter("project"), context: request.context(principal, door: .rest))
        let last = request.headers[.lastEventID].flatMap { UInt64($0) }
        let text = WatchText(events: events, path: watch.path ?? ".", lastEvent: last)
        var reply = BytePump.reply(text, type: EventStream.mediaType, keepAlive: EventStream.keepAlive, for: request)
        reply.headers[.accelBuffering] = "no"
        return reply
    }
}

/// Changes as the text of an event stream.
private struct WatchText: AsyncSequence, Sendable {
    let events: FileEvents
    let path: String
    /// The number of the last event that the client has seen.
    let lastEvent: UInt64?

    func makeAsyncIterator() -> Iterator {
        Iterator(events: events.makeAsyncIterator(), path: path, lastEvent: lastEvent)
    }

    struct Iterator: AsyncIteratorProtocol {
        private var events: any AsyncIteratorProtocol<[FileWatchEvent], any Error>
        private let path: String
        private let lastEvent: UInt64?
        private var nextID: UInt64
        private var hasBegun = false

        init(
            events: any AsyncIteratorProtocol<[FileWatchEvent], any Error>, path: String, lastEvent: UInt64?
        ) {
            self.events = events
            self.path = path
            self.lastEvent = lastEvent
            nextID = (lastEvent ?? 0) &+ 1
        }

        mutating func next() async throws -> ByteBuffer? {
            var buffer = ByteBuffer()
            guard hasBegun else {
                hasBegun = true
                write("ready", ["path": path], to: &buffer)
                if lastEvent != nil {
                    let missed = FileWatchEvent(
                        kind: .rescan, path: path, isDirectory: true,
                        reason: "Changes since the last event are not kept.")
                    write(missed.kind.rawValue, missed, to: &buffer)
                }
                return buffer
            }
            guard let batch = try await events.next(isolation: nil) else { return nil }
            for event in batch { write(event.kind.rawValue, event, to: &buffer) }
            return buffer
        }

        private mutating func write(_ event: String, _ value: some Encodable, to buffer: inout ByteBuffer) {
            guard let data = try? JSON.encode(value) else { return }
            EventStream.write(event: event, id: "\(nextID)", data: ByteBuffer(bytes: data), to: &buffer)
            nextID &+= 1
        }
    }
}

import Foundation

/// Takes an event stream apart, of which only the names, the one line of data of each event and the last id are of interest.
struct EventLines {
    private var partial: [UInt8] = []
    private var event = ""
    private var data = Data()
    private var id: String?
    /// Of what came last: where a reader goes on.
    private(set) var lastID: String?

    mutating func take(_ bytes: [UInt8]) -> [(event: String, data: Data)] {
        var events: [(String, Data)] = []
        partial += bytes
        while let end = partial.firstIndex(of: 0x0a) {
            let line = String(decoding: partial[..<end], as: UTF8.self)
            partial.removeSubrange(...end)
            if line.hasPrefix("event: ") { event = String(line.dropFirst(7)) }
            if line.hasPrefix("id: ") { id = String(line.dropFirst(4)) }
            if line.hasPrefix("data: ") { data = Data(line.utf8.dropFirst(6)) }
            if line.isEmpty {
                if !event.isEmpty { events.append((event, data)) }
                lastID = id ?? lastID
                event = ""
            }
        }
        return events
    }

    /// The stream broke off and begins anew.
    mutating func forgetPartial() {
        partial = []
        (event, id) = ("", nil)
    }
}

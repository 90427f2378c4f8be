import ControllerDomain
import ControllerStore
import FastableCore

/// `events_*`: what happened, page by page. Following is a route of its own.
struct EventOperations: Sendable {
    let events: EventService

    var all: [Operation] { [list] }

    struct ListInput: Decodable, Sendable {
        var project: String?
        var kinds: [String]?
        var after: String?
        var limit: Int?
    }

    struct ListAnswer: Encodable, Sendable {
        var events: [EventView]
        var next: String
        var isLast: Bool
        var oldest: String
    }

    static let kinds = JSONSchema.Property.optional(
        "kinds",
        .array(
            .oneOf(PlatformEvent.Kind.allCases.map(\.rawValue)), "Only these kinds; all when none are given.",
            maximum: Limits.eventKindsAtOnce))

    private static let event = JSONSchema.output([
        .required("id", .string("Its place: a decimal number that counts up. Give it as `after` to go on behind it.")),
        .required("kind", .oneOf(PlatformEvent.Kind.allCases.map(\.rawValue))),
        .required("at", .date("When it happened; of a container by the clock of its node.")),
        .required("workspace", .string()),
        .optional("project", .string()),
        .optional("node", .string()),
        .required("data", .map(JSONSchema(.any), "What there is to say: `from`, `to` and `reason` of a container.")),
    ])

    private var list: Operation {
        .make(
            "events_list",
            .init(
                "List events",
                "Lists what happened in the workspace, oldest first: projects created and deleted, changes of containers, and for "
                    + "administrators nodes that came and went. Kept for \(Limits.eventDays) days."),
            scope: .projectsRead, annotations: .reading, input: ListInput.self,
            accepts: .input([
                .optional(
                    "project",
                    .string(
                        "Only this project: its id or name. The id of a deleted one is fine.", minimumBytes: 1,
                        maximumBytes: 128)),
                Self.kinds,
                .optional("after", .string("`id` of the last event that was seen.", minimumBytes: 1, maximumBytes: 20)),
                .optional("limit", .integer(1...Limits.pageRows, "Events to look at at most.", default: 100)),
            ]),
            answers: .output([
                .required("events", .array(Self.event)),
                .required("next", .string("Give this as `after` to go on; a page may be empty and not the last.")),
                .required("isLast", .boolean("There is nothing more for now.")),
                .required("oldest", .string("The oldest event that is kept, of any workspace.")),
            ])
        ) { input, context in
            let query = EventQuery(
                project: input.project, kinds: input.kinds ?? [], after: try input.after.map(EventPlace.parse))
            let page = try await events.page(query, limit: input.limit ?? 100, context: context)
            return ListAnswer(
                events: page.events.map { EventView($0) }, next: String(page.last), isLast: page.isLast,
                oldest: String(page.range.oldest))
        }
    }
}

/// A place in the events, as it stands in texts.
public enum EventPlace {
    /// Throws `invalid`.
    public static func parse(_ text: String) throws -> Int64 {
        guard let place = Int64(text), place >= 0, text.utf8.first != UInt8(ascii: "+") else {
            throw FastableError(
                .invalid, "‘\(text.shortened)’ is no id of an event: those are decimal numbers.",
                details: ["field": "after"])
        }
        return place
    }
}

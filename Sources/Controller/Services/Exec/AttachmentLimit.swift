import ControllerDomain
import FastableCore
import Synchronization

/// How many followers of commands, or of something else, each token has.
package final class AttachmentLimit: Sendable {
    private let most: Int
    private let things: String
    private let held = Mutex<[TokenID: Int]>([:])

    init(most: Int = Limits.attachmentsPerToken, of things: String = "commands") {
        self.most = most
        self.things = things
    }

    /// The place of one more follower. Throws `limit` when the token has as many as it may.
    func take(_ token: TokenID) throws(FastableError) -> Place {
        let fits = held.withLock { held in
            guard held[token, default: 0] < most else { return false }
            held[token, default: 0] += 1
            return true
        }
        guard fits else {
            throw FastableError(
                .limit,
                "This token follows \(most) \(things) at a time, which is the most. Let some of them go.",
                details: ["limit": .integer(Int64(most))], retryAfterSeconds: 1)
        }
        return Place(self, token)
    }

    private func give(back token: TokenID) {
        held.withLock { held in
            let count = held[token, default: 0] - 1
            held[token] = count > 0 ? count : nil
        }
    }

    /// Given back once: by `leave`, or when it is dropped.
    package final class Place: Sendable {
        private let limit: Mutex<AttachmentLimit?>
        private let token: TokenID

        init(_ limit: AttachmentLimit, _ token: TokenID) {
            self.limit = Mutex(limit)
            self.token = token
        }

        deinit { leave() }

        func leave() {
            let limit = limit.withLock { limit in
                defer { limit = nil }
                return limit
            }
            limit?.give(back: token)
        }
    }
}

import NodeSandbox
import Synchronization

/// The projects whose files a call uses, until it was served.
final class CallUses: Sendable {
    private let uses = Mutex<[FileUse]>([])

    func add(_ use: FileUse) { uses.withLock { $0.append(use) } }

    func end() {
        for use in uses.withLock({ uses in
            defer { uses = [] }
            return uses
        }) {
            use.end()
        }
    }
}

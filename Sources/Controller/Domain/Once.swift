public import FastableCore
public import FoundationEssentials

/// What a caller names a change with, so that a retry does not do it twice.
public struct OnceKey: Sendable, Hashable {
    public var workspace: WorkspaceID
    public var text: String

    public init(workspace: WorkspaceID, text: String) {
        self.workspace = workspace
        self.text = text
    }
}

/// What is remembered of a change that was asked for under a key. It is written before the change begins.
public struct OnceRecord: Sendable, Equatable {
    /// How it ended, for whoever asks again.
    public enum Answer: Sendable, Equatable {
        case output(Data)
        case failure(FastableError)
        /// The node has it, under the record's exec.
        case exec
        /// It was done; the answer is secret or too large to be kept.
        case dropped
    }

    public var key: OnceKey
    /// Of the operation and its input: a key stands for one of each. Empty when the change was cancelled before it was asked for.
    public var digest: [UInt8]
    /// The command that the change runs, if it does: its id is chosen before it begins.
    public var exec: ExecID
    public var expiresAt: Date
    /// `nil` while it runs, and when nobody knows how it ended.
    public var answer: Answer?

    public init(key: OnceKey, digest: [UInt8], exec: ExecID, expiresAt: Date, answer: Answer? = nil) {
        self.key = key
        self.digest = digest
        self.exec = exec
        self.expiresAt = expiresAt
        self.answer = answer
    }
}

/// What was found under a key.
public enum OnceBeginning: Sendable, Equatable {
    /// Nothing: the change is remembered now, and may begin.
    case fresh
    case known(OnceRecord)
}

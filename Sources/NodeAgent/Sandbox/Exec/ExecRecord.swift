package import FastableCore
import FoundationEssentials

/// What is left of an exec when it has ended: one small file per exec, `<exec>.json`.
package struct ExecRecord: Codable, Sendable {
    package var exec: ExecID
    package var container: ContainerID
    /// Its number at the container's init, which names its control group; `nil` in records of an earlier release.
    package var number: UInt32?
    /// How the command ended; `nil` when that could not be learned, see `failure`.
    package var result: ExecResult?
    /// Why the command did not start, or why nobody knows how it ended.
    package var failure: FastableError?
    /// Offsets behind the last byte of each stream.
    package var stdoutEnd: UInt64
    package var stderrEnd: UInt64
    /// `false` while processes in the background may still print.
    package var isComplete: Bool
    /// When this was written, in milliseconds since 1970.
    package var writtenMilliseconds: UInt64

    package init(
        exec: ExecID, container: ContainerID, number: UInt32? = nil, result: ExecResult? = nil,
        failure: FastableError? = nil, stdoutEnd: UInt64, stderrEnd: UInt64, isComplete: Bool,
        writtenMilliseconds: UInt64
    ) {
        self.exec = exec
        self.container = container
        self.number = number
        self.result = result
        self.failure = failure
        self.stdoutEnd = stdoutEnd
        self.stderrEnd = stderrEnd
        self.isComplete = isComplete
        self.writtenMilliseconds = writtenMilliseconds
    }

    /// An entry (`EndedResultEntry`) has no place for why a command did not start, and none for one that goes on.
    var saysMoreThanItsEntry: Bool { !isComplete || failure != nil }

    /// Bytes that its spool files take at most.
    var spoolBytes: Int {
        let kept = UInt64(Limits.execOutputKeptBytes)
        return Int(min(stdoutEnd, kept) + min(stderrEnd, kept))
    }
}

import FastableCore
import FoundationEssentials

/// What is left of an exec when it has ended: one small file per exec, `<exec>.json`.
struct ExecRecord: Codable, Sendable {
    var exec: ExecID
    var container: ContainerID
    /// Its number at the container's init, which names its control group; `nil` in records of an earlier release.
    var number: UInt32?
    /// How the command ended; `nil` when that could not be learned, see `failure`.
    var result: ExecResult?
    /// Why the command did not start, or why nobody knows how it ended.
    var failure: FastableError?
    /// Offsets behind the last byte of each stream.
    var stdoutEnd: UInt64
    var stderrEnd: UInt64
    /// `false` while processes in the background may still print.
    var isComplete: Bool
    /// When this was written, in milliseconds since 1970.
    var writtenMilliseconds: UInt64

    /// Bytes that its spool files take at most.
    var spoolBytes: Int {
        let kept = UInt64(Limits.execOutputKeptBytes)
        return Int(min(stdoutEnd, kept) + min(stderrEnd, kept))
    }
}

public import FastableCore
public import NIOCore

/// One piece of what an exec tells its readers.
public enum ExecChunk: Sendable, Equatable {
    /// The first: the bytes that follow begin at these offsets.
    case started(container: ContainerID, stdoutOffset: UInt64, stderrOffset: UInt64, inputOffset: UInt64)
    /// The command has been given all input before this offset. Only for readers that asked for it.
    case inputPassed(upTo: UInt64)
    /// Bytes of channel 1 (stdout) or 2 (stderr).
    case data(channel: UInt8, ByteBuffer)
    /// Bytes of a channel were dropped before this reader came: the next data begins at `to`.
    case gap(channel: UInt8, from: UInt64, to: UInt64)
    /// The last.
    case finished(ExecResult)
}

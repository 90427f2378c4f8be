/// The places where hostile bytes arrive. `make fuzz` feeds each of them with bytes that it searches for, the ordinary tests with
/// those that were kept in `Tests/Corpus`.
package enum FuzzTarget: String, CaseIterable, Sendable {
    /// The link's frames, as messages and as a stream.
    case frames
    /// The link's state machine: against a hostile peer, and in honest conversations.
    case mux
    /// What the node understands of a container's init.
    case reports
    /// `fastable-init` itself, between the node and hostile commands.
    case requests
    /// Archives: read, and unpacked into a directory.
    case tar
    /// Edits of a text, compared with the plainest way to make them.
    case edit
    /// JSON, compared with another reader.
    case json

    /// Throws a `FuzzFinding` when something is not as it must be. A trap is a finding too.
    package func run(_ bytes: [UInt8]) throws {
        switch self {
        case .frames: try FrameTarget.run(bytes)
        case .mux: try MuxTarget.run(bytes)
        case .reports: try ReportTarget.run(bytes)
        case .requests: try RequestTarget.run(bytes)
        case .tar: try TarTarget.run(bytes)
        case .edit: try EditTarget.run(bytes)
        case .json: try JSONTarget.run(bytes)
        }
    }

    /// Inputs to begin with, which reach what chance would not find soon.
    package var seeds: [[UInt8]] {
        switch self {
        case .frames: FrameTarget.seeds
        case .mux: MuxTarget.seeds
        case .reports: ReportTarget.seeds
        case .requests: RequestTarget.seeds
        case .tar: TarTarget.seeds
        case .edit: EditTarget.seeds
        case .json: JSONTarget.seeds
        }
    }
}

package struct FuzzFinding: Error, CustomStringConvertible {
    package let description: String
}

/// Holds what must be true of every input.
func require(_ condition: Bool, _ what: @autoclosure () -> String) throws(FuzzFinding) {
    if !condition { throw FuzzFinding(description: what()) }
}

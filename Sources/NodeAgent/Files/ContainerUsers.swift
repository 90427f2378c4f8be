import FastableArchive
import FastableCore

/// The users of one container: the host's ids of theirs.
struct ContainerUsers: Sendable {
    /// The host's id of the container's root.
    let base: UInt32

    /// As the container numbers them; who is none of them is nobody.
    func inside(_ host: UInt32) -> UInt32 {
        host >= base && host - base < Limits.containerUsers ? host - base : TarEntry.nobody
    }

    /// Never an id of somebody else, whatever the number is.
    func onHost(_ inside: UInt32) -> UInt32 { base + (inside < Limits.containerUsers ? inside : TarEntry.nobody) }
}

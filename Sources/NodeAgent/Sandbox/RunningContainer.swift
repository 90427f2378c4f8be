public import FastableCore

/// A project's files on this node. They are there while the container sleeps or does not exist yet.
public struct ProjectVolume: Sendable, Equatable {
    public let project: ProjectID
    public let paths: ProjectPaths
    /// The host's id of the container's root, who owns new files.
    public let uidBase: UInt32
}

/// A container that answers.
public struct RunningContainer: Sendable {
    /// The incarnation.
    public let id: ContainerID
    public let volume: ProjectVolume
    /// Runs commands in it.
    public let execs: ExecTable
    let accounts: ContainerAccounts
    /// What the image and the wish for the container set for every command; a command's own settings go before it.
    public internal(set) var environment: [String: String]
}

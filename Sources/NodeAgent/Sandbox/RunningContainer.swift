public import FastableCore
public import NIOCore

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
    let wake: @Sendable () async throws -> Void

    /// A command with all of its environment, and whom it runs as. Errors as `account`.
    public func prepared(_ command: ExecCommand) async throws -> (ExecCommand, ExecUser) {
        let account = try await account(command.user)
        var command = command
        command.environment = Self.baseEnvironment.merging(account.environment) { $1 }
            .merging(environment) { $1 }.merging(command.environment) { $1 }
        return (command, account.user)
    }

    /// What every program expects to find, under what image, project and command set. Toolchains that `mise` installs live in
    /// the cache volume and come first.
    private static let baseEnvironment = [
        "PATH": "/cache/mise/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
        "LANG": "C.UTF-8", "MISE_DATA_DIR": "/cache/mise",
    ]

    /// Starts a command, as `ExecTable.start` does, and wakes the container when it was suspended meanwhile.
    public func start(
        exec: ExecID, command: ExecCommand, user: ExecUser, input: ByteBuffer? = nil,
        ended: EndedExecs = EndedExecs(), permit: () throws -> Void = {}
    ) async throws -> ExecSession {
        let session = try await execs.start(
            exec: exec, container: id, command: command, user: user, input: input, ended: ended, permit: permit)
        if execs.activity?.worked(.command) == true { try await wake() }
        return session
    }
}

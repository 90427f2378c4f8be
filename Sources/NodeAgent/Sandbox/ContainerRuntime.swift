import FastableCore

/// A container as its runtime knows it.
struct RuntimeContainer: Sendable, Equatable {
    var container: ContainerID
    var pid: Int32
    var isRunning: Bool
}

/// The program that makes containers from OCI bundles. Nothing above this seam may assume which one it is.
protocol ContainerRuntime: Sendable {
    /// Name and version: `runc 1.1.5`.
    func version() async throws -> String

    /// Makes the container of a bundle and starts its process, which inherits a listening socket as descriptor 3.
    ///
    /// - Returns: the process's number on the host. When it throws, something may be left that `delete` removes.
    func run(_ container: ContainerID, paths: ContainerPaths, listener: CInt) async throws -> Int32

    /// Removes a container, and kills it first if it runs. One that does not exist is fine.
    func delete(_ container: ContainerID) async throws

    /// The containers of this instance.
    func list() async throws -> [RuntimeContainer]
}

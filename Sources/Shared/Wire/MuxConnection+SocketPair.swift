import FastableCore
package import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

extension MuxConnection {
    /// Both ends of a link over a unix socket pair, without TLS and without the upgrade: for tests of what runs on links.
    package static func socketPair(
        on group: any EventLoopGroup, settings: MuxSettings = MuxSettings()
    ) async throws -> (dialer: MuxConnection, listener: MuxConnection) {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw FastableError(.internal, "No socket pair could be made.", context: "errno \(errno)")
        }
        let dialer = try await attach(to: ends[0], on: group, role: .dialer, settings: settings)
        let listener = try await attach(to: ends[1], on: group, role: .listener, settings: settings)
        return (dialer, listener)
    }

    private static func attach(
        to socket: CInt, on group: any EventLoopGroup, role: MuxRole, settings: MuxSettings
    ) async throws -> MuxConnection {
        try await ClientBootstrap(group: group).withConnectedSocket(socket) { channel in
            channel.eventLoop.makeCompletedFuture { try attach(to: channel, role: role, settings: settings) }
        }
    }
}

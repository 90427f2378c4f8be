import ControllerDomain
import FastableCore
import Glibc
import NIOPosix

/// One address that a name stands for, by the host's own means: files, DNS, and the many ways to write an address.
package struct HostAddress: Sendable, Equatable {
    package var text: String
    package var isPublic: Bool

    package init(text: String, isPublic: Bool) {
        self.text = text
        self.isPublic = isPublic
    }

    /// Threads of its own: a name server that does not answer holds up webhooks only.
    private static let threads: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: Limits.webhookResolvers)
        pool.start()
        return pool
    }()

    /// All addresses, those first that this host reaches best; none when the name does not exist.
    package static func resolve(_ name: String) async throws -> [HostAddress] {
        try await threads.runIfActive { lookUp(name) }
    }

    private static func lookUp(_ name: String) -> [HostAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &found) == 0 else { return [] }
        defer { freeaddrinfo(found) }
        var addresses: [HostAddress] = []
        var next = found
        while let entry = next?.pointee {
            if let address = address(entry) { addresses.append(address) }
            next = entry.ai_next
        }
        return addresses
    }

    private static func address(_ entry: addrinfo) -> HostAddress? {
        guard let raw = entry.ai_addr else { return nil }
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let isWritten =
            getnameinfo(
                raw, entry.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
        // sockaddr_in has its address behind family and port, sockaddr_in6 behind the flow label, too.
        let places: [Int32: Range<Int>] = [AF_INET: 4..<8, AF_INET6: 8..<24]
        guard isWritten, let place = places[entry.ai_family], Int(entry.ai_addrlen) >= place.upperBound else {
            return nil
        }
        let bytes = [UInt8](UnsafeRawBufferPointer(start: raw, count: Int(entry.ai_addrlen))[place])
        let letters = text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
        return HostAddress(text: String(decoding: letters, as: UTF8.self), isPublic: PublicAddress.isPublic(bytes))
    }
}

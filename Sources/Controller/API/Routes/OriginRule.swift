import FastableCore

/// Which web pages may call: the answer to DNS rebinding, where a page of an attacker reaches a server on this machine under its
/// own name. Programs send no `Origin` and are not concerned.
///
/// `Host` is not looked at: a rebinding page makes it up, but cannot make up its `Origin`.
package struct OriginRule: Sendable {
    private let allowed: Set<String>

    /// `allowed` are origins such as `https://console.example.com`; pages of this machine are always allowed.
    package init(allowed: [String]) { self.allowed = Set(allowed.map { $0.lowercased() }) }

    /// Throws `forbidden` for a page that is not allowed.
    package func check(_ origins: [String]) throws {
        for origin in origins {
            let origin = origin.lowercased()
            guard !allowed.contains(origin), !Self.isOfThisMachine(origin) else { continue }
            throw FastableError(
                .forbidden, "Web pages of ‘\(origin.prefix(200))’ may not call this. Add it to the allowed origins.",
                details: ["origin": .string(String(origin.prefix(200)))])
        }
    }

    private static func isOfThisMachine(_ origin: String) -> Bool {
        guard let scheme = ["http://", "https://"].first(where: origin.hasPrefix) else { return false }
        let authority = origin.dropFirst(scheme.count)
        let names = ["localhost", "127.0.0.1", "[::1]"]
        return names.contains { name in
            guard authority.hasPrefix(name) else { return false }
            let port = authority.dropFirst(name.count)
            return port.isEmpty || (port.first == ":" && port.dropFirst().allSatisfy(\.isASCIIDigit))
        }
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}

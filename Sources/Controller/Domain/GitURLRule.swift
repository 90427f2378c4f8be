import FastableCore

/// Which remotes a project may be cloned from.
///
/// The text reaches `git clone` in the container. Refused are: local paths and `file:`, transports that run a program
/// (`ext::`, `fd::`), whatever could be read as an option by git or by ssh, and credentials, which would be stored
/// and shown.
enum GitURLRule {
    /// What is wrong, as the end of a sentence that begins with the field; `nil` when the text is allowed.
    static func problem(with text: String) -> String? {
        let forms = "must be like https://host/path, ssh://git@host/path or git@host:path"
        guard text.utf8.count <= Limits.gitURLBytes else { return "must have at most \(Limits.gitURLBytes) bytes" }
        guard text.utf8.allSatisfy(isAllowed) else { return "has a character that does not belong into a URL" }
        guard !hasEncodedControl(text) else { return "has an encoded control character" }
        if let rest = text.after("https://") {
            let (authority, path) = split(rest)
            if authority.contains("@") { return "must not carry a user or password; they would be stored and shown" }
            return isHostAndPort(authority) && isPath(path) ? nil : forms
        }
        if let rest = text.after("ssh://") {
            let (authority, path) = split(rest)
            let (user, host) = splitUser(authority)
            if user?.contains(":") == true { return "must not carry a password; it would be stored and shown" }
            return user.map(isUser) != false && isHostAndPort(host) && isPath(path) ? nil : forms
        }
        guard !text.contains("::"), !text.contains("://"), let colon = text.firstIndex(of: ":") else { return forms }
        let (user, host) = splitUser(text[..<colon])
        let path = text[text.index(after: colon)...]
        guard let user, isUser(user), isHost(host), !path.isEmpty, path.first != "-", path != "/" else { return forms }
        return nil
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7f && !"\"'`\\<>^{}|$;&".utf8.contains(byte)
    }

    /// `%0a` and the like: git and its helpers decode them.
    private static func hasEncodedControl(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return bytes.indices.contains { index in
            guard bytes[index] == UInt8(ascii: "%") else { return false }
            guard index + 2 < bytes.count, let high = hex(bytes[index + 1]), let low = hex(bytes[index + 2]) else {
                return true
            }
            let value = high * 16 + low
            return value < 0x20 || value == 0x7f
        }
    }

    private static func hex(_ byte: UInt8) -> UInt8? { Character(Unicode.Scalar(byte)).hexDigitValue.map(UInt8.init) }

    private static func split(_ rest: Substring) -> (authority: Substring, path: Substring) {
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        return (rest[..<slash], rest[slash...])
    }

    private static func splitUser(_ authority: Substring) -> (user: Substring?, host: Substring) {
        guard let at = authority.firstIndex(of: "@") else { return (nil, authority) }
        return (authority[..<at], authority[authority.index(after: at)...])
    }

    private static func isPath(_ path: Substring) -> Bool { path.count > 1 && path.hasPrefix("/") }

    private static func isUser(_ user: Substring) -> Bool {
        guard let first = user.utf8.first, first.isAlphanumeric || first == UInt8(ascii: "_") else { return false }
        return user.utf8.count <= 64 && user.utf8.allSatisfy { $0.isAlphanumeric || "-_.".utf8.contains($0) }
    }

    private static func isHostAndPort(_ text: Substring) -> Bool {
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { return false }
            let address = text[text.index(after: text.startIndex)..<close]
            return isAddress6(address) && isPort(text[text.index(after: close)...])
        }
        let colon = text.firstIndex(of: ":") ?? text.endIndex
        return isHost(text[..<colon]) && isPort(text[colon...])
    }

    /// Empty, or a colon and a number.
    private static func isPort(_ text: Substring) -> Bool {
        guard !text.isEmpty else { return true }
        guard text.first == ":", text.utf8.dropFirst().allSatisfy({ $0.isDigit }) else { return false }
        return Int(text.dropFirst()).map { (1...65535).contains($0) } ?? false
    }

    private static func isAddress6(_ text: Substring) -> Bool {
        text.contains(":")
            && text.utf8.allSatisfy { hex($0) != nil || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") }
    }

    private static func isHost(_ text: Substring) -> Bool {
        guard text.utf8.count <= 253 else { return false }
        return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            guard let first = label.utf8.first, let last = label.utf8.last, label.utf8.count <= 63 else { return false }
            return first.isAlphanumeric && last.isAlphanumeric
                && label.utf8.allSatisfy { $0.isAlphanumeric || $0 == UInt8(ascii: "-") }
        }
    }
}

extension String {
    /// The rest behind a prefix; `nil` when the text begins otherwise.
    fileprivate func after(_ prefix: String) -> Substring? { hasPrefix(prefix) ? dropFirst(prefix.count) : nil }
}

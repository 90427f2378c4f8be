/// The one rule for names of nodes, which both ends of an enrollment check.
public enum NodeName {
    /// A host name fits. Throws `unprocessable` that says what is allowed.
    public static func check(_ name: String) throws {
        let bytes = name.utf8
        let fits =
            1...Limits.nameBytes ~= bytes.count && bytes.allSatisfy { isOuter($0) || isInner($0) }
            && bytes.first.map(isOuter) == true && bytes.last.map(isOuter) == true && !name.contains("..")
        guard fits else {
            throw FastableError(
                .unprocessable,
                "A node's name must have 1 to \(Limits.nameBytes) lower-case letters, digits, hyphens and single dots, and "
                    + "begin and end with a letter or digit.", details: ["field": "name"])
        }
    }

    /// The name of a host in this form, as far as it can be brought into it.
    public static func suggestion(hostName: String) -> String {
        let bytes = hostName.lowercased().utf8.prefix(Limits.nameBytes).map { byte in
            isOuter(byte) || isInner(byte) ? byte : UInt8(ascii: "-")
        }
        let trimmed = bytes.drop { !isOuter($0) }.reversed().drop { !isOuter($0) }.reversed()
        return String(decoding: trimmed, as: UTF8.self)
    }

    private static func isOuter(_ byte: UInt8) -> Bool {
        UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
    }

    private static func isInner(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") }
}

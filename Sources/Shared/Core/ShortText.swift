extension String {
    /// For messages that repeat what a caller sent: at most 64 characters.
    package var shortened: String { cut(to: 64) }

    /// At most that many characters; where some are left out, the last one is ‘…’.
    package func cut(to characters: Int) -> String {
        // Bytes are never fewer than characters, so most texts need no counting.
        utf8.count <= characters || count <= characters ? self : String(prefix(characters - 1)) + "…"
    }
}

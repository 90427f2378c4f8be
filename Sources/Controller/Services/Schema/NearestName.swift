/// Finds what was probably meant by a name that does not exist.
enum NearestName {
    /// Names within a third of the length in edit distance, or that contain the text, nearest first, at most `count`.
    static func suggestions(for text: String, among names: some Sequence<String>, count: Int = 3) -> [String] {
        // Longer texts are no typing errors, and the distance costs the product of the lengths.
        guard !text.isEmpty, text.utf8.count <= 64 else { return [] }
        let wanted = normalized(text)
        let bound = max(1, wanted.count / 3)
        var ranked: [(distance: Int, name: String)] = []
        for name in names {
            let candidate = normalized(name)
            let distance = distance(wanted, candidate)
            if distance <= bound {
                ranked.append((distance, name))
            } else if wanted.count >= 3,
                String(decoding: candidate, as: UTF8.self).contains(
                    String(decoding: wanted, as: UTF8.self))
            {
                ranked.append((bound + 1, name))
            }
        }
        return ranked.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(count).map(\.name)
    }

    /// Lower case without separators: `file_path` and `filePath` are the same slip.
    private static func normalized(_ text: String) -> [UInt8] {
        text.lowercased().utf8.filter { $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: ".") }
    }

    /// Levenshtein's distance, with one row kept.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (leftIndex, leftByte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = leftIndex + 1
            for (rightIndex, rightByte) in right.enumerated() {
                let substituted = diagonal + (leftByte == rightByte ? 0 : 1)
                diagonal = row[rightIndex + 1]
                row[rightIndex + 1] = min(substituted, diagonal + 1, row[rightIndex] + 1)
            }
        }
        return row[right.count]
    }
}

extension String {
    /// For messages that repeat what a caller sent: at most 64 characters.
    var shortened: String { cut(to: 64) }

    /// At most that many characters; where some are left out, the last one is ‘…’.
    func cut(to characters: Int) -> String {
        // Bytes are never fewer than characters, so most texts need no counting.
        utf8.count <= characters || count <= characters ? self : String(prefix(characters - 1)) + "…"
    }
}

/// Finds what was probably meant by a name that does not exist.
public enum NearestName {
    /// ` Did you mean ‘…’?`, or an empty text when nothing is near.
    public static func hint(for text: String, among names: some Sequence<String>) -> String {
        suggestions(for: text, among: names, count: 1).first.map { " Did you mean ‘\($0)’?" } ?? ""
    }

    /// Names that end with the text, lie within a third of its length in edit distance, or contain it: the nearest first, at
    /// most `count`.
    public static func suggestions(for text: String, among names: some Sequence<String>, count: Int = 3) -> [String] {
        // Longer texts are no typing errors, and the distance costs the product of the lengths.
        guard !text.isEmpty, text.utf8.count <= 64 else { return [] }
        let names = Array(names)
        let wanted = normalized(text)
        let bound = max(1, wanted.count / 3)
        // A person who forgot the section of a setting or the beginning of a flag wrote the end right.
        let bare = text.drop { $0 == "-" }
        let endings = bare.isEmpty ? [] : names.filter { $0.hasSuffix("." + bare) || $0.hasSuffix("-" + bare) }
        let ranked = names.compactMap { name -> (rank: Int, name: String)? in
            if endings == [name] { return (0, name) }
            let candidate = normalized(name)
            let distance = distance(wanted, candidate)
            if distance <= bound { return (distance, name) }
            return wanted.count >= 3 && candidate.contains(wanted) ? (bound + 1, name) : nil
        }
        return ranked.sorted { ($0.rank, $0.name) < ($1.rank, $1.name) }.prefix(count).map(\.name)
    }

    /// Lower case without separators: `file_path` and `filePath` are the same slip.
    private static func normalized(_ text: String) -> [UInt8] {
        text.lowercased().utf8.filter { $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: ".") }
    }

    /// How many bytes must be added, removed, replaced or swapped with their neighbour.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var rows = [Array(0...right.count)]
        for (i, a) in left.enumerated() {
            var row = [i + 1]
            for (j, b) in right.enumerated() {
                var best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a == b ? 0 : 1))
                if i > 0, j > 0, a == right[j - 1], left[i - 1] == b { best = min(best, rows[i - 1][j - 1] + 1) }
                row.append(best)
            }
            rows.append(row)
        }
        return rows[left.count][right.count]
    }
}

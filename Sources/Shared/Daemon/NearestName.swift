/// Finds what a person meant who mistyped a name.
enum NearestName {
    /// ` Did you mean ‘…’?`, or an empty text when nothing is near.
    static func suggestion(for name: String, among known: [String]) -> String {
        nearest(to: name, among: known).map { " Did you mean ‘\($0)’?" } ?? ""
    }

    static func nearest(to name: String, among known: [String]) -> String? {
        // A person who forgot the section or the beginning of a flag wrote the end right.
        let bare = name.drop { $0 == "-" }
        let endings = known.filter { $0.hasSuffix("." + bare) || $0.hasSuffix("-" + bare) }
        if !bare.isEmpty && endings.count == 1 { return endings.first }
        let folded = fold(name)
        let distances = known.map { (name: $0, distance: distance(folded, fold($0))) }
        guard let best = distances.min(by: { $0.distance < $1.distance }) else { return nil }
        return best.distance <= max(1, folded.count / 4) ? best.name : nil
    }

    private static func fold(_ name: String) -> [Character] { name.lowercased().filter { $0 != "_" }.map { $0 } }

    /// How many characters must be added, removed, replaced or swapped with their neighbour.
    static func distance(_ left: [Character], _ right: [Character]) -> Int {
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

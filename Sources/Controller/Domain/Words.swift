/// Small pieces of text for people.
enum Words {
    static let shownCharacters = 128

    /// A name that somebody sent, safe to show: without control characters, and not endless.
    static func shown(_ text: String) -> String {
        let head = text.unicodeScalars.prefix(shownCharacters)
        var shown = String.UnicodeScalarView()
        for scalar in head { shown.append(isShowable(scalar) ? scalar : "�") }
        return String(shown) + (text.unicodeScalars.count > shownCharacters ? "…" : "")
    }

    private static func isShowable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned: false
        default: true
        }
    }

    /// `1.5 GiB`
    static func bytes(_ count: Double) -> String {
        let mebibyte = 1024.0 * 1024
        return count < 1024 * mebibyte
            ? "\(decimal(count / mebibyte, places: 0)) MiB" : "\(decimal(count / 1024 / mebibyte, places: 1)) GiB"
    }

    /// Rounded to at most `places` decimals, without trailing zeros.
    static func decimal(_ value: Double, places: Int) -> String {
        var factor = 1.0
        for _ in 0..<places { factor *= 10 }
        let rounded = (value * factor).rounded() / factor
        return Int64(exactly: rounded).map(String.init) ?? "\(rounded)"
    }
}

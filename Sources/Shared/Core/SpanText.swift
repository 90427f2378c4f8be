/// Lengths of time for people: `30 minutes`, `1 hour and 5 minutes`.
public enum SpanText {
    public static func of(_ duration: Duration) -> String {
        let seconds = max(0, Int(duration.components.seconds))
        let units = [(86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")]
        var parts: [String] = []
        var rest = seconds
        for (size, name) in units where rest >= size {
            let count = rest / size
            rest %= size
            parts.append("\(count) \(name)\(count == 1 ? "" : "s")")
        }
        return parts.isEmpty ? "0 seconds" : parts.prefix(2).joined(separator: " and ")
    }
}

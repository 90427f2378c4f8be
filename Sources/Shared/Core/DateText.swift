import FoundationEssentials

/// Moments as ISO 8601 has them, in UTC: `2026-11-21T09:13:05Z`.
public enum DateText {
    /// With milliseconds: `2026-11-21T09:13:05.123Z`.
    public static func text(milliseconds: UInt64) -> String {
        var text = beginning(of: milliseconds / 1000)
        text.append(UInt8(ascii: "."))
        append(milliseconds % 1000, digits: 3, to: &text)
        text.append(UInt8(ascii: "Z"))
        return String(decoding: text, as: UTF8.self)
    }

    /// To the second in which it lies.
    static func text(_ date: Date) -> String {
        let seconds = date.timeIntervalSince1970.rounded(.down)
        guard seconds >= 0, seconds < endOfYear9999 else { return date.formatted(.iso8601) }
        var text = beginning(of: UInt64(seconds))
        text.append(UInt8(ascii: "Z"))
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads also what says the same otherwise, as `2026-11-21T10:13:05.000+01:00`; `nil` when it is no date.
    static func date(_ text: String) -> Date? {
        if let seconds = seconds(text.utf8.span) { return Date(timeIntervalSince1970: Double(seconds)) }
        return try? Date(text, strategy: .iso8601)
    }

    private static let endOfYear9999 = 253_402_300_800.0
    private static let secondsPerDay: UInt64 = 86_400

    // MARK: writing

    /// Without what stands behind the seconds.
    private static func beginning(of seconds: UInt64) -> [UInt8] {
        let (year, month, day) = date(days: seconds / secondsPerDay)
        let second = seconds % secondsPerDay
        var text: [UInt8] = []
        text.reserveCapacity(24)
        if year > 9999 { text += Array("\(year / 10_000)".utf8) }
        append(year % 10_000, digits: 4, to: &text)
        for (separator, number) in [("-", month), ("-", day)] as [(Unicode.Scalar, UInt64)] {
            text.append(UInt8(ascii: separator))
            append(number, digits: 2, to: &text)
        }
        for (separator, number) in [("T", second / 3600), (":", second / 60 % 60), (":", second % 60)]
            as [(Unicode.Scalar, UInt64)]
        {
            text.append(UInt8(ascii: separator))
            append(number, digits: 2, to: &text)
        }
        return text
    }

    private static func append(_ number: UInt64, digits: Int, to text: inout [UInt8]) {
        var unit: UInt64 = 1
        for _ in 1..<digits { unit *= 10 }
        while unit > 0 {
            text.append(UInt8(ascii: "0") + UInt8(number / unit % 10))
            unit /= 10
        }
    }

    // MARK: the calendar

    /// Years are counted from March on, so that the day that some have more is their last one.
    private static let daysBefore1970: UInt64 = 719_468
    private static let daysPerEra: UInt64 = 146_097
    private static let yearsPerEra: UInt64 = 400

    private static func date(days: UInt64) -> (year: UInt64, month: UInt64, day: UInt64) {
        let days = days + daysBefore1970
        let day = days % daysPerEra
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365
        let dayOfYear = day - (365 * year + year / 4 - year / 100)
        let month = (5 * dayOfYear + 2) / 153
        return (
            days / daysPerEra * yearsPerEra + year + (month < 10 ? 0 : 1), month < 10 ? month + 3 : month - 9,
            dayOfYear - (153 * month + 2) / 5 + 1
        )
    }

    private static func days(year: UInt64, month: UInt64, day: UInt64) -> UInt64 {
        let year = month > 2 ? year : year - 1
        let yearOfEra = year % yearsPerEra
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return year / yearsPerEra * daysPerEra + dayOfEra - daysBefore1970
    }

    // MARK: reading

    /// Of exactly the form that is written; `nil` for everything else, before 1970 too.
    private static func seconds(_ text: Span<UInt8>) -> UInt64? {
        let form: StaticString = "0000-00-00T00:00:00Z"
        guard text.count == form.utf8CodeUnitCount, isOfForm(text, form) else { return nil }
        let (year, month, day) = (number(text, 0..<4), number(text, 5..<7), number(text, 8..<10))
        let (hour, minute, second) = (number(text, 11..<13), number(text, 14..<16), number(text, 17..<19))
        guard year >= 1970, (1...12).contains(month), day >= 1, hour < 24, minute < 60, second < 60 else { return nil }
        let days = days(year: year, month: month, day: day)
        guard date(days: days).day == day else { return nil }
        return days * secondsPerDay + hour * 3600 + minute * 60 + second
    }

    private static func isOfForm(_ text: Span<UInt8>, _ form: StaticString) -> Bool {
        form.withUTF8Buffer { form in
            form.indices.allSatisfy { index in
                form[index] == UInt8(ascii: "0") ? text[index] &- UInt8(ascii: "0") <= 9 : text[index] == form[index]
            }
        }
    }

    private static func number(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
        var number: UInt64 = 0
        for index in range { number = number * 10 + UInt64(text[index] - UInt8(ascii: "0")) }
        return number
    }
}

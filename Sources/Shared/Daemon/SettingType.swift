import Configuration
public import FastableCore

/// What the text of a setting means: how it is read, how it is printed, and what to say when it is wrong.
public struct SettingType<Value: Sendable>: Sendable {
    let form: SettingForm
    /// Completes ‘must be …’.
    let expected: String
    /// Stands for the value in the help: `--api-listen HOST:PORT`.
    let placeholder: String
    /// Whether the value must not be repeated in any message.
    let isSecret: Bool
    let parse: @Sendable (ConfigContent) -> Value?
    let print: @Sendable (Value) -> PrintedValue

    /// A type of one's own, written as one text.
    ///
    /// - Parameters:
    ///   - expected: completes ‘must be …’, for example ‘a subnet such as 10.224.0.0/15’.
    ///   - parse: `nil` when the text does not fit.
    public init(
        expected: String, placeholder: String, parse: @escaping @Sendable (String) -> Value?,
        print: @escaping @Sendable (Value) -> String
    ) {
        self.init(form: .text, expected: expected, placeholder: placeholder) { content in
            if case .string(let text) = content { parse(text) } else { nil }
        } print: { value in
            .text(print(value))
        }
    }

    init(
        form: SettingForm, expected: String, placeholder: String, isSecret: Bool = false,
        parse: @escaping @Sendable (ConfigContent) -> Value?,
        print: @escaping @Sendable (Value) -> PrintedValue
    ) {
        self.form = form
        self.expected = expected
        self.placeholder = placeholder
        self.isSecret = isSecret
        self.parse = parse
        self.print = print
    }

    /// The same type for a setting that may be left out.
    var optional: SettingType<Value?> {
        let (parse, print) = (parse, print)
        return SettingType<Value?>(
            form: form, expected: expected, placeholder: placeholder, isSecret: isSecret
        ) { content in
            parse(content).map { .some($0) }
        } print: { value in
            value.map(print) ?? .nothing
        }
    }
}

/// A value as `--print-config` shows it.
enum PrintedValue: Sendable, Equatable {
    case nothing
    case redacted
    case text(String)
    case list([String])
}

extension SettingType where Value == String {
    /// Any text that is not empty.
    public static var text: SettingType {
        SettingType(expected: "a text that is not empty", placeholder: "TEXT") {
            $0.isEmpty ? nil : $0
        } print: {
            $0
        }
    }

    /// A path from the root: a daemon's working directory says nothing.
    public static var absolutePath: SettingType {
        SettingType(expected: "an absolute path", placeholder: "PATH") { text in
            guard text.hasPrefix("/"), !text.utf8.contains(0), text.utf8.count <= Limits.pathBytes else { return nil }
            return text
        } print: {
            $0
        }
    }

    /// A short name that can stand in paths, interfaces and cgroups: lower-case letters, digits and `-`.
    public static var name: SettingType {
        SettingType(
            expected: "1 to \(Limits.nameBytes) lower-case letters, digits and ‘-’, beginning with a letter",
            placeholder: "NAME"
        ) { text in
            let fits = text.utf8.allSatisfy { byte in
                (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "-")
            }
            let startsWithLetter = text.utf8.first.map { (0x61...0x7a).contains($0) } ?? false
            return fits && startsWithLetter && text.utf8.count <= Limits.nameBytes ? text : nil
        } print: {
            $0
        }
    }
}

extension SettingType where Value == Bool {
    /// On or off; the bare flag means on.
    public static var toggle: SettingType {
        SettingType(form: .toggle, expected: "true or false", placeholder: "") { content in
            if case .bool(let value) = content { value } else { nil }
        } print: { value in
            .text(value ? "true" : "false")
        }
    }
}

extension SettingType where Value == Int {
    public static func integer(_ range: ClosedRange<Int>) -> SettingType {
        SettingType(
            expected: "a whole number from \(range.lowerBound) to \(range.upperBound)", placeholder: "NUMBER"
        ) { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        } print: {
            "\($0)"
        }
    }

    /// An amount of bytes: `4096`, `512KiB`, `64MiB`, `2GiB`.
    public static func bytes(_ range: ClosedRange<Int>) -> SettingType {
        let print = { @Sendable (bytes: Int) in AmountText.bytes(bytes) }
        return SettingType(
            expected: "an amount of bytes from \(print(range.lowerBound)) to \(print(range.upperBound))",
            placeholder: "BYTES"
        ) { text in
            AmountText.bytes(text).flatMap { range.contains($0) ? $0 : nil }
        } print: {
            print($0)
        }
    }
}

extension SettingType where Value == Double {
    /// A number: `4`, `1.5`.
    public static func number(_ range: ClosedRange<Double>) -> SettingType {
        SettingType(
            expected: "a number from \(range.lowerBound) to \(range.upperBound)", placeholder: "NUMBER"
        ) { text in
            Double(text).flatMap { range.contains($0) ? $0 : nil }
        } print: {
            "\($0)"
        }
    }
}

extension SettingType where Value == Duration {
    /// A time: `500ms`, `30s`, `5m`, `2h`, `7d`.
    public static func duration(_ range: ClosedRange<Duration>) -> SettingType {
        let print = { @Sendable (duration: Duration) in AmountText.duration(duration) }
        return SettingType(
            expected: "a time from \(print(range.lowerBound)) to \(print(range.upperBound)), such as 500ms, 30s or 5m",
            placeholder: "TIME"
        ) { text in
            AmountText.duration(text).flatMap { range.contains($0) ? $0 : nil }
        } print: {
            print($0)
        }
    }
}

extension SettingType where Value == HostPort {
    /// Where to listen or to dial: `127.0.0.1:7420`, `[::1]:7420`.
    public static var address: SettingType {
        SettingType(expected: "an address such as 127.0.0.1:7420 or [::1]:7420", placeholder: "HOST:PORT") {
            HostPort($0)
        } print: {
            $0.description
        }
    }
}

extension SettingType where Value == Secret {
    /// Printed redacted wherever it appears.
    public static var secret: SettingType {
        SettingType(form: .text, expected: "a text that is not empty", placeholder: "SECRET", isSecret: true) {
            content in
            if case .string(let text) = content, !text.isEmpty { Secret(text) } else { nil }
        } print: { _ in
            .redacted
        }
    }
}

extension SettingType where Value == [String] {
    /// Several texts: a list in the file, separated by commas elsewhere; a flag may also be repeated.
    public static var list: SettingType {
        SettingType(form: .list, expected: "a list of texts", placeholder: "A,B,…") { content in
            if case .stringArray(let texts) = content { texts.filter { !$0.isEmpty } } else { nil }
        } print: {
            .list($0)
        }
    }
}

extension SettingType where Value: CaseIterable & RawRepresentable, Value.RawValue == String {
    /// One of the cases of an enumeration, by its raw text.
    public static var choice: SettingType {
        let words = Value.allCases.map(\.rawValue)
        return SettingType(
            expected: "one of " + words.joined(separator: ", "), placeholder: words.joined(separator: "|")
        ) {
            Value(rawValue: $0)
        } print: {
            $0.rawValue
        }
    }
}

import Foundation

/// The repository as the rules see it.
enum SourceTree {
    /// The package's directory, found from this file's own path.
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    struct File {
        /// Relative to the package's directory.
        let path: String
        let text: String
        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
    }

    /// Files below a folder with one of the extensions; build folders are left out.
    static func files(below folder: String, extensions: Set<String>) throws -> [File] {
        let base = root.appending(path: folder)
        guard let walker = FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil) else { return [] }
        return try walker.compactMap { $0 as? URL }
            .filter { extensions.contains($0.pathExtension) }
            .map { (url: $0, path: String($0.path.dropFirst(root.path.count + 1))) }
            // The package itself may lie below a hidden folder.
            .filter { !"/\($0.path)".contains("/.") }
            .map { File(path: $0.path, text: try String(contentsOf: $0.url, encoding: .utf8)) }
            .sorted { $0.path < $1.path }
    }

    struct Function {
        let name: String
        let firstLine: Int
        let lineCount: Int
    }

    static func functions(in file: File) -> [Function] {
        file.path.hasSuffix(".c") ? functionsOfC(in: file) : functionsOfSwift(in: file)
    }

    /// A definition begins at the left margin, with its parameters, and ends with a brace there; ours are formatted so.
    private static func functionsOfC(in file: File) -> [Function] {
        var found: [Function] = []
        var open: (name: String, line: Int, hasBody: Bool)?
        for (index, line) in file.lines.enumerated() {
            if open == nil, line.first?.isLetter == true, let head = line.split(separator: "(").first,
                head.count < line.count, !head.contains("=")
            {
                open = (String(line), index + 1, false)
            }
            guard var function = open else { continue }
            function.hasBody = function.hasBody || line.contains("{")
            open = function
            let isOneLine = function.line == index + 1 && line.hasSuffix("}")
            if line.hasPrefix("}") || isOneLine {
                found.append(
                    Function(name: function.name, firstLine: function.line, lineCount: index + 2 - function.line))
                open = nil
            } else if !function.hasBody, line.hasSuffix(";") {
                open = nil
            }
        }
        return found
    }

    /// Functions and initializers with their lengths, by counting braces outside strings and comments.
    private static func functionsOfSwift(in file: File) -> [Function] {
        var found: [Function] = []
        var open: [(name: String, line: Int, depth: Int)] = []
        var pending: (name: String, line: Int)?
        var depth = 0
        var inMultilineString = false
        for (index, raw) in file.lines.enumerated() {
            let line = code(of: String(raw), inMultilineString: &inMultilineString)
            if let name = declaredFunction(line) { pending = (name, index + 1) }
            for character in line {
                if character == "{" {
                    if let declared = pending {
                        open.append((declared.name, declared.line, depth))
                        pending = nil
                    }
                    depth += 1
                } else if character == "}" {
                    depth -= 1
                    if let last = open.last, last.depth == depth {
                        open.removeLast()
                        found.append(Function(name: last.name, firstLine: last.line, lineCount: index + 2 - last.line))
                    }
                }
            }
        }
        return found
    }

    /// The line without comments and the contents of strings, so that their braces do not count.
    private static func code(of line: String, inMultilineString: inout Bool) -> String {
        if line.contains("\"\"\"") {
            let quotes = line.components(separatedBy: "\"\"\"").count - 1
            if quotes % 2 == 1 { inMultilineString.toggle() }
            return inMultilineString ? String(line.prefix(while: { $0 != "\"" })) : ""
        }
        if inMultilineString { return "" }
        var result = ""
        var inString = false
        var previous: Character = " "
        for character in line {
            if character == "\"" && previous != "\\" { inString.toggle() }
            if !inString {
                if character == "/" && previous == "/" { break }
                result.append(character)
            }
            previous = character == "\\" && previous == "\\" ? " " : character
        }
        return result
    }

    private static func declaredFunction(_ line: String) -> String? {
        for keyword in ["func ", "init(", "init?(", "init<", "deinit "] {
            guard let range = line.range(of: keyword) else { continue }
            let before = line[..<range.lowerBound].trimmingCharacters(in: .whitespaces)
            let isDeclaration = before.isEmpty || before.allSatisfy { $0.isLetter || " @()".contains($0) }
            if isDeclaration { return line.trimmingCharacters(in: .whitespaces) }
        }
        return nil
    }
}

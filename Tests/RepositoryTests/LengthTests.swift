import Testing

@Suite("Files and functions stay short")
struct LengthTests {
    static let fileLines = 500
    static let functionLines = 70

    @Test func noFileIsTooLong() throws {
        let files =
            try SourceTree.files(below: "Sources", extensions: ["swift", "c", "h"])
            + SourceTree.files(below: "Tests", extensions: ["swift", "py"])
        #expect(files.count > 50, "the scan must have found the sources")
        for file in files {
            #expect(file.lines.count <= Self.fileLines, "\(file.path) has \(file.lines.count) lines; split it by noun")
        }
    }

    @Test func noFunctionIsTooLong() throws {
        var count = 0
        for file in try SourceTree.files(below: "Sources", extensions: ["swift"]) {
            for function in SourceTree.functions(in: file) {
                count += 1
                #expect(
                    function.lineCount <= Self.functionLines,
                    "\(file.path):\(function.firstLine) ‘\(function.name)’ has \(function.lineCount) lines")
            }
        }
        #expect(count > 200, "the scan must have found the functions")
    }

    @Test func theScannerSeesALongFunction() {
        let body = String(repeating: "        work(\"}\")  // }\n", count: 80)
        let file = SourceTree.File(
            path: "x.swift", text: "struct X {\n    func long() {\n\(body)    }\n    func short() { }\n}\n")
        #expect(SourceTree.functions(in: file).map(\.lineCount) == [82, 1])
    }
}

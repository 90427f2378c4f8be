import FastableCore

/// The fields of file operations and of their answers, as agents read them.
enum FileSchemas {
    static func path(_ description: String) -> JSONSchema {
        .string(
            description
                + " Relative to /workspace; `/workspace/…` is understood as the same. What leads out is refused.",
            minimumBytes: 1, maximumBytes: Limits.pathBytes)
    }

    static let ifMatch = JSONSchema.string(
        "Only if the file has this sha256 (lower-case hexadecimal) now, otherwise the call fails with `stale`; \"\" means "
            + "that the file must not exist yet.", maximumBytes: ifMatchBytes)

    static let ifTargetMatch = JSONSchema.string(
        "Only if the file that is replaced has this sha256 (lower-case hexadecimal) now, otherwise the call fails with `stale`; \"\" "
            + "means that nothing may be there yet.", maximumBytes: ifMatchBytes)

    static let ifContentMatch = JSONSchema.string(
        "Only if what is meant is a regular file that has this sha256 (lower-case hexadecimal) now.", minimumBytes: 1,
        maximumBytes: ifMatchBytes)

    /// A sha256, or the version that a download tells.
    static let ifMatchBytes = 80

    static let encoding = JSONSchema.oneOf(
        ["utf8", "base64"], "How `content` is written. Use base64 for bytes that are not UTF-8 text.", default: "utf8")

    static let includeIgnored = JSONSchema.boolean(
        "Also files that .gitignore, .ignore and .rgignore exclude.", default: false)

    // MARK: answers

    static let sha256 = JSONSchema.string("sha256 of the whole file, lower-case hexadecimal.")
    static let truncated = JSONSchema.boolean("There is more than was given.")

    static let entry = JSONSchema.output([
        .required("name", .string("Relative to the directory that was listed.")),
        .required("kind", .oneOf(["file", "directory", "symlink", "other"])),
        .required("sizeBytes", .count()),
        .required("mode", .string("Permission bits, octal: `0644`.")),
        .required("modifiedMilliseconds", .integer(nil, "Milliseconds since 1970-01-01 UTC.")),
        .optional("symlinkTarget", .string()),
    ])

    static let read = JSONSchema.output([
        .required("path", .string()),
        .required("kind", .oneOf(["file", "directory"])),
        .optional("content", .string("The text, or base64 when the file is not UTF-8 text; absent for a directory.")),
        .optional("encoding", .oneOf(["utf8", "base64"])),
        .optional("sha256", sha256),
        .optional("sizeBytes", .count("Of the whole file.")),
        .optional("firstLine", .count("Number of the first line given, counted from 1.")),
        .optional("lineCount", .count("Lines given.")),
        .optional("totalLines", .count("Lines of the whole file.")),
        .required("truncated", .boolean("More follows: read on with `offset` = firstLine + lineCount.")),
        .optional("entries", .array(entry, "The entries of a directory.")),
    ])

    static let written = JSONSchema.output([
        .required("path", .string()),
        .required("sha256", sha256),
        .required("sizeBytes", .count()),
        .required("created", .boolean("The file did not exist before.")),
    ])

    static let edited = JSONSchema.output([
        .required("path", .string()),
        .required("sha256", sha256),
        .required("replacements", .count()),
        .required("firstLine", .count("Line of the first replacement, counted from 1.")),
        .required("snippet", .string("The lines around the first replacement, four on each side.")),
    ])

    static let listed = JSONSchema.output([
        .required("path", .string()), .required("entries", .array(entry)), .required("truncated", truncated),
    ])

    static let globbed = JSONSchema.output([
        .required("paths", .array(.string(), "Sorted, relative to /workspace.")), .required("truncated", truncated),
    ])

    static let grepped = JSONSchema.output([
        .required(
            "matches",
            .array(
                .output([
                    .required("path", .string()), .required("line", .count("Counted from 1.")),
                    .required("text", .string("The line, cut at \(Limits.grepLineBytes) bytes.")),
                ]))),
        .required("filesWithMatches", .count()),
        .required("truncated", truncated),
    ])

    static let overwrite = JSONSchema.boolean(
        "Replace a file that is there. Without it the call fails with conflict then. A directory is never replaced.",
        default: false)

    static let stated = JSONSchema.output([
        .required("path", .string()),
        .required("kind", .oneOf(["file", "directory", "symlink", "other"])),
        .required("sizeBytes", .count()),
        .required("mode", .string("Permission bits, octal: `0644`.")),
        .required("modifiedMilliseconds", .integer(nil, "Milliseconds since 1970-01-01 UTC.")),
        .optional("user", .count("Its owner, as the container numbers users; absent when it is none of them.")),
        .optional("group", .count("Its group, likewise.")),
        .required("links", .count("Names that the file has.")),
        .optional("symlinkTarget", .string()),
        .optional("sha256", sha256),
    ])

    static let madeDirectory = JSONSchema.output([
        .required("path", .string()), .required("created", .boolean("It did not exist before.")),
    ])

    static let moved = JSONSchema.output([
        .required("from", .string()), .required("to", .string()),
        .required("replaced", .boolean("A file that was there is gone.")),
    ])

    static let copied = JSONSchema.output([
        .required("from", .string()), .required("to", .string()),
        .required("copied", .count("Files, directories and links that were made.")),
        .required("sizeBytes", .count()),
        .required("skipped", .count("FIFOs, sockets and devices, which are not copied.")),
        .required("replaced", .boolean("A file that was there is gone.")),
    ])

    static let changedMode = JSONSchema.output([
        .required("path", .string()), .required("mode", .string("As it is now, octal: `0755`.")),
    ])

    static let deleted = JSONSchema.output([
        .required("path", .string()), .required("removed", .count("Files, directories and links that were removed.")),
    ])
}

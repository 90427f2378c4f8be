import ArgumentParser
import FastableCore

extension ProjectCommand {
    struct SetImage: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set-image",
            abstract: "Let a project's container be made from another image.",
            discussion: """
                The present container is stopped. /workspace and /cache stay; what was
                installed elsewhere belonged to the old image and is gone. /workspace is
                saved first, as a snapshot.

                Example: fastable project set-image shop node22
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Argument(help: "The image, from ‘fastable image list’.") var image: String
        @Flag(help: "Also when its content cannot be saved.") var force = false

        struct Answer: Codable {
            var snapshot: String?
            var snapshotError: String?
        }

        func run() async throws {
            var input: [String: JSONValue] = ["project": .string(project), "image": .string(image)]
            if force { input["force"] = true }
            try await common.work("projects_set_image", .object(input), as: Answer.self) { answer in
                let saved = answer.snapshot.map { " What was in it is also in the snapshot \($0)." }
                let lost = answer.snapshotError.map { " Its content was not saved: \($0)" }
                return "‘\(project)’ begins with ‘\(image)’ on its next use.\(saved ?? lost ?? "")"
            }
        }
    }
}

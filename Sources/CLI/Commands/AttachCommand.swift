import ArgumentParser
import FastableCore

struct AttachCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attach", abstract: "Follow a command that runs, and write to it.",
        discussion: """
            Shows what the command has printed and prints, and exits with its
            status. Ending this program leaves the command running; ‘fastable kill
            EXEC’ ends it.

            Examples:
              fastable exec shop --detach -- npm run dev    # prints its id
              fastable attach exe_01jc…
              fastable attach --tail 4000 exe_01jc…
              fastable attach --stdin exe_01jc… < answers.txt
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The id of the command, from ‘exec --detach’ or ‘ps’.") var exec: String
    @Flag(name: [.customShort("i"), .long], help: "Send standard input to the command, if it takes any.") var stdin =
        false
    @Option(help: ArgumentHelp("Begin so many bytes before the end of what it has printed.", valueName: "bytes"))
    var tail: UInt64?
    @Flag(name: [.customShort("t"), .long], help: "The command runs in a terminal: pass every key on.") var tty = false

    func run() async throws {
        try await CommandFailure.explained {
            let options = AttachSession.Options(
                sendsInput: stdin || tty, usesTerminal: tty && TerminalMode.isTerminal, tailBytes: tail)
            throw ExitCode(try await AttachSession(client: try common.client(), exec: exec, options: options).run())
        }
    }
}

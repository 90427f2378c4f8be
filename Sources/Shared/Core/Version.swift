/// The version of the whole product; all four programs carry the same one.
public enum Version {
    public static let text = "0.1.0"
}

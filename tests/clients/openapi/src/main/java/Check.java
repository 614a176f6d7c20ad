import io.swagger.v3.parser.OpenAPIV3Parser;
import io.swagger.v3.parser.core.models.ParseOptions;
import io.swagger.v3.parser.core.models.SwaggerParseResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Parses the document given as the first argument; every message of the parser is an objection. */
public final class Check {
    public static void main(String[] args) throws Exception {
        ParseOptions options = new ParseOptions();
        options.setResolve(true);
        String document = Files.readString(Path.of(args[0]));
        SwaggerParseResult result = new OpenAPIV3Parser().readContents(document, List.of(), options);
        List<String> messages = result.getMessages() == null ? List.of() : result.getMessages();
        messages.forEach(System.out::println);
        if (result.getOpenAPI() == null || !messages.isEmpty()) {
            System.exit(1);
        }
        System.out.println(result.getOpenAPI().getPaths().size() + " paths, no objections");
    }
}

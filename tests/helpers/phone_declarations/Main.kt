// Runs the golden test of the page, and prints on standard error how its functions read rows, pictures and answers.
import android.graphics.Bitmap
import java.io.File
import java.time.LocalDateTime
import org.json.JSONObject

fun main() {
    GoldenTest().the_network_gives_its_golden_answers()
    val folder = System.getProperty("assets")
    val digits = Card(File(folder, "digits.json").readText())
    val picture = Bitmap(8, 8, IntArray(64) { index -> index * 0x030201 })
    System.err.println(pictureFeatures(picture, digits).joinToString(" "))
    System.err.println(digits.classOf(FloatArray(10) { index -> if (index == 7) 0.9f else 0.01f }))
    val table = Card(File(folder, "table.json").readText())
    val golden = JSONObject(File(folder, "table_golden.json").readText())
    val encoder = RowEncoder(table.columns!!)
    val examples = golden.getJSONArray("examples")
    for (place in 0 until examples.length()) {
        val row = examples.getJSONObject(place).getJSONObject("row").values.mapValues { (name, value) ->
            if (name == "sold" && value != null) LocalDateTime.parse(value as String) else value
        }
        System.err.println(encoder.encode(row).joinToString(" "))
    }
    System.err.println(table.quantilesOf(FloatArray(3) { it * 10f }))
}

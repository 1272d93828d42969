// Android's JSON, as far as the pages use it.
package org.json

class JSONObject private constructor(val values: Map<String, Any?>) {
    constructor(text: String) : this((Parser(text).value() as JSONObject).values)

    fun getString(name: String) = values.getValue(name) as String

    fun getDouble(name: String) = (values.getValue(name) as Number).toDouble()

    fun getLong(name: String) = (values.getValue(name) as Number).toLong()

    fun getBoolean(name: String) = values.getValue(name) as Boolean

    fun getJSONArray(name: String) = values.getValue(name) as JSONArray

    fun getJSONObject(name: String) = values.getValue(name) as JSONObject

    fun optJSONArray(name: String): JSONArray? = values[name] as? JSONArray

    fun optJSONObject(name: String): JSONObject? = values[name] as? JSONObject

    fun optDouble(name: String): Double = (values[name] as? Number)?.toDouble() ?: Double.NaN

    companion object {
        internal fun of(values: Map<String, Any?>) = JSONObject(values)
    }
}

class JSONArray internal constructor(private val values: List<Any?>) {
    fun length() = values.size

    fun getString(index: Int) = values[index] as String

    fun getDouble(index: Int) = (values[index] as Number).toDouble()

    fun getJSONObject(index: Int) = values[index] as JSONObject
}

private class Parser(private val text: String) {
    private var place = 0

    fun value(): Any? {
        skipSpace()
        return when (text[place]) {
            '{' -> JSONObject.of(items('}') { text().also { expect(':') } to value() }.toMap())
            '[' -> JSONArray(items(']') { value() })
            '"' -> text()
            else -> word()
        }
    }

    private fun <T> items(end: Char, item: () -> T): List<T> {
        place++
        val list = mutableListOf<T>()
        skipSpace()
        while (text[place] != end) {
            list += item()
            skipSpace()
            if (text[place] == ',') place++
            skipSpace()
        }
        place++
        return list
    }

    private fun text(): String {
        expect('"')
        val read = StringBuilder()
        while (text[place] != '"') {
            if (text[place] != '\\') {
                read.append(text[place++])
            } else if (text[place + 1] == 'u') {
                read.append(text.substring(place + 2, place + 6).toInt(16).toChar())
                place += 6
            } else {
                read.append(mapOf('n' to '\n', 't' to '\t', 'r' to '\r')[text[place + 1]] ?: text[place + 1])
                place += 2
            }
        }
        place++
        return read.toString()
    }

    private fun word(): Any? {
        val end = (place until text.length).first { text[it] in ",]} \n" }
        val word = text.substring(place, end)
        place = end
        return when (word) {
            "null" -> null
            "true", "false" -> word == "true"
            else -> word.toDouble()
        }
    }

    private fun expect(sign: Char) {
        skipSpace()
        check(text[place++] == sign)
    }

    private fun skipSpace() {
        while (text[place].isWhitespace()) place++
    }
}
